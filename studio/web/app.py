"""The board: one page with its tabs, put behind the guard and handed to the web server."""

from __future__ import annotations

from typing import Any

import gradio as gr
from fastapi import FastAPI

from studio.config.workspace import Workspace
from studio.runs.devices import inventory, machine_facts
from studio.runs.supervisor import Supervisor
from studio.web import chat_tab, data_tab, evaluate_tab, export_tab, runs_tab, train_tab
from studio.web.chat_view import ChatView
from studio.web.data_files import add_routes
from studio.web.data_room import DataRoom, DataView
from studio.web.early_head import EarlyHead
from studio.web.evaluate_view import EvaluateView
from studio.web.export_view import ExportView
from studio.web.guides import add_guides
from studio.web.look import gradio_code, head, stylesheet, theme
from studio.web.runs_view import RunsView
from studio.web.security import App, Guard, Throttle, same_secret
from studio.web.sizes import bytes_text
from studio.web.start import Starter
from studio.web.train_room import TrainRoom, TrainView
from studio.web.words import ENGLISH, languages, say, words

_HEADER = """<div class="head"><span class="brand">Studio</span><span class="facts"></span>
<select class="language"></select><button class="theme">◐</button></div><p class="offline" hidden></p>"""


class Texts:
    """Hands out markers that the browser turns into the words of the page's language."""

    def __init__(self) -> None:
        translated = {language: _without_page(language) for language in languages()}
        self.i18n = gr.I18n(**{gradio_code(language): own for language, own in translated.items()})

    def __call__(self, key: str) -> Any:
        """The marker for one key. Raises KeyError for a key that no language has."""
        words(ENGLISH)[key]
        return self.i18n(key)


def _without_page(language: str) -> dict[str, str]:
    """Texts of Gradio's own widgets, which are the tabs; those of the scripts travel in the head."""
    return {key: text for key, text in words(language).items() if key.startswith("page.tabs.")}


def facts(language: str) -> str:
    """The machine in one line: devices with their free memory, cores, main memory."""
    machine = machine_facts()
    gpus = [f"{device.label} {bytes_text(device.free or 0)}" for device in inventory() if device.name != "cpu"]
    cores = say(language, "page.header.cores", cores=machine.cores)
    free = say(language, "page.header.free", free=bytes_text(machine.memory_available))
    return " · ".join([*gpus, f"CPU {cores}", free])


def build(room: DataRoom, texts: Texts) -> gr.Blocks:
    """The page with its tabs."""
    workspace, supervisor = room.workspace, room.supervisor
    training = TrainRoom(workspace, supervisor, Starter(workspace, supervisor))
    with gr.Blocks(title="Studio", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(
            _HEADER, js_on_load="window.studio.drawHeader(element, server);", server_functions=[facts], elem_id="header"
        )
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab(texts("page.tabs.train"), id="train", elem_id="tab-train", render_children=True):
                train_tab.draw(TrainView(training))
            with gr.Tab(texts("page.tabs.runs"), id="runs", elem_id="tab-runs", render_children=True):
                runs_tab.draw(RunsView(workspace, supervisor))
            with gr.Tab(texts("page.tabs.data"), id="data", elem_id="tab-data", render_children=True):
                data_tab.draw(DataView(room))
            with gr.Tab(texts("page.tabs.evaluate"), id="evaluate", elem_id="tab-evaluate", render_children=True):
                evaluate_tab.draw(EvaluateView(workspace, supervisor, room.tickets))
            with gr.Tab(texts("page.tabs.chat"), id="chat", elem_id="tab-chat", render_children=True):
                chat_tab.draw(ChatView(workspace, supervisor))
            with gr.Tab(texts("page.tabs.export"), id="export", elem_id="tab-export", render_children=True):
                export_tab.draw(ExportView(workspace, supervisor))
    return page


def make_app(
    workspace: Workspace,
    supervisor: Supervisor,
    *,
    user: str = "studio",
    password: str | None = None,
    hosts: tuple[str, ...] = (),
) -> App:
    """The ASGI application. `hosts` are the names it answers to; none given means any."""
    texts = Texts()
    room = DataRoom(workspace, supervisor)
    page = build(room, texts)
    api = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_routes(api, workspace, room.tickets)
    add_guides(api)
    auth = (lambda name, given: same_secret(name, user) and same_secret(given, password)) if password else None
    app = gr.mount_gradio_app(
        api,
        page,
        path="/",
        auth=auth,
        blocked_paths=[str(workspace.root)],
        show_error=False,
        enable_monitoring=False,
        run_history=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        footer_links=[],
        i18n=texts.i18n,
        theme=theme(),
        css=stylesheet(),
        max_file_size="64mb",
    )
    return Guard(EarlyHead(app, head()), hosts, Throttle())
