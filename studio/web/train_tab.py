"""The Train tab: the form on the left, on the right what will run and the buttons that start it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.config.leaves import groups, leaves
from studio.config.workspace import Workspace
from studio.web import train_actions as actions
from studio.web.form import Form
from studio.web.start import Starter
from studio.web.train_parts import TrainTab, all_folded, shown_text
from studio.web.train_preview import preview
from studio.web.words import ENGLISH

_ANSWERS = ("resume", "rename", "replace", "cancel")


def draw(page: gr.Blocks, form: Form, workspace: Workspace, starter: Starter, hidden: dict[str, gr.Textbox]) -> None:
    """Lay the tab out and wire it up. `hidden` are the page's boxes: language, opened (a run to show), filled."""
    text = form.text
    sections = groups(form.schema)
    with gr.Row(elem_classes=["train"], equal_height=False):
        with gr.Column(scale=3, elem_classes=["form"]):
            with gr.Column(elem_classes=["cards"]):
                for group in sections:
                    if not all_folded(form.schema, group.name):
                        form.draw_card(group)
            with gr.Column(elem_classes=["folds"]):
                for group in sections:
                    if all_folded(form.schema, group.name):
                        own = [leaf for leaf in leaves(form.schema) if leaf.section == group.name]
                        form.draw_fold(group.name, own, f"sections.{group.name}")
                form.draw_fold("", [leaf for leaf in leaves(form.schema) if not leaf.section and leaf.advanced])
        with gr.Column(scale=2, elem_classes=["summary-column"]), gr.Column(elem_classes=["card", "summary"]):
            gr.HTML(f"<h2>{text('page.form.this_run')}</h2>", elem_classes=["card-title"])
            form.draw_leaves([leaf for leaf in leaves(form.schema) if not leaf.section and not leaf.advanced])
            tab = _summary_card(form, workspace, starter, hidden)
    _wire(tab, page)


def _summary_card(form: Form, workspace: Workspace, starter: Starter, hidden: dict[str, gr.Textbox]) -> TrainTab:
    text = form.text
    summary = gr.HTML("", elem_id="summary", elem_classes=["summary-text"])
    with gr.Row(elem_classes=["buttons"]):
        start = gr.Button(text("page.form.start"), variant="primary", elem_id="start", min_width=80)
        hold = gr.Button(text("page.form.queue_held"), elem_id="hold", min_width=80)
    with gr.Column(visible=False, elem_classes=["question"], elem_id="question") as question:
        question_text = gr.HTML("")
        with gr.Row():
            answers = {
                name: gr.Button(text(f"page.form.exists_{name}"), elem_id=f"exists-{name}", size="sm", min_width=60)
                for name in _ANSWERS
            }
    gr.HTML(f"<h3>{text('page.form.command')}</h3>", elem_classes=["card-title"])
    command = gr.HTML(shown_text(ENGLISH, ""), elem_id="command", elem_classes=["shown-text"])
    with gr.Accordion(text("page.form.yaml"), open=False, elem_classes=["fold"]):
        file = gr.HTML(shown_text(ENGLISH, ""), elem_id="yaml", elem_classes=["shown-text"])
        with gr.Row(elem_classes=["buttons"]):
            small: dict[str, Any] = {"size": "sm", "min_width": 60}
            download = gr.Button(text("page.form.save_yaml"), elem_id="save-yaml", **small)
            kinds = [".yaml", ".yml"]
            upload = gr.UploadButton(text("page.form.load_yaml"), elem_id="load-yaml", file_types=kinds, **small)
            reset = gr.Button(text("page.form.reset"), elem_id="reset", **small)
    return TrainTab(
        form=form,
        workspace=workspace,
        starter=starter,
        hidden=hidden,
        shown_faults=gr.State({}),
        summary=summary,
        command=command,
        file=file,
        start=start,
        hold=hold,
        question=question,
        question_text=question_text,
        answers=answers,
        download=download,
        upload=upload,
        reset=reset,
    )


def _wire(tab: TrainTab, page: gr.Blocks) -> None:
    """Every event of the tab. None of them can be called by name from outside."""
    form, widgets, language = tab.form, tab.form.widgets, tab.hidden["language"]
    boxes = list(widgets.values())
    named: dict[str, Component] = {**widgets, "language": language, "shown_faults": tab.shown_faults}
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def on(triggers: list[Any], handler: Callable[..., Any], outputs: list[Any], **options: Any) -> None:
        gr.on(triggers, handler, inputs_kwargs=named, outputs=outputs, **quiet, **options)

    def show(**values: Any) -> dict[Any, Any]:
        return preview(tab, values)

    def begin(if_exists: str, hold: bool) -> Callable[..., Any]:
        return lambda **values: actions.start(tab, values, if_exists, hold)

    moving: list[Any] = [*form.members.values(), *form.folds.values(), *boxes]
    shown: list[Any] = [tab.shown_faults, tab.start, tab.hold, tab.summary, tab.command, tab.file]
    changes = [widget.change for widget in boxes]
    on([page.load, language.change, *changes], show, [*moving, *shown], trigger_mode="always_last")
    after: list[Any] = [tab.question, tab.question_text, tab.hidden["opened"]]
    on([tab.start.click], begin("refuse", hold=False), after)
    on([tab.hold.click], begin("refuse", hold=True), after)
    for answer in ("resume", "rename", "replace"):
        on([tab.answers[answer].click], begin(answer, hold=False), after)
    tab.answers["cancel"].click(lambda: gr.update(visible=False), outputs=tab.question, **quiet)

    def upload(path: str, spoken: str) -> Any:
        return actions.load_yaml(tab, path, spoken)

    def take_over(name: str, spoken: str) -> Any:
        return actions.take_over(tab, name, spoken)

    tab.upload.upload(upload, [tab.upload, language], boxes, **quiet)
    tab.hidden["filled"].change(take_over, [tab.hidden["filled"], language], boxes, **quiet)
    tab.reset.click(lambda: actions.first_values(tab), outputs=boxes, **quiet)
    tab.download.click(None, js="() => window.studio.saveShown('yaml', 'run.yaml')", api_visibility="private")
    page.load(form.refreshed_choices, outputs=boxes, **quiet)
