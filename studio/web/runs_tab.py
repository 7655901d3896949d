"""The Runs tab: an empty frame that the browser's script fills from two server functions."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.web.runs_view import RunsView

_FRAME = """<div class="runs"><aside class="run-list"></aside>
<section class="run-side"><button class="back" aria-label="back">‹</button><div class="run-detail"></div></section>
</div>"""


def draw(view: RunsView) -> gr.HTML:
    """Lay the tab out; `tick` and `act` are the only ways in."""

    def tick(request: dict[str, Any]) -> dict[str, Any]:
        return view.tick(request)

    def act(request: dict[str, Any]) -> dict[str, Any]:
        return view.act(request)

    return gr.HTML(
        _FRAME,
        js_on_load="window.studio.drawRuns(element, server);",
        server_functions=[tick, act],
        elem_id="runs",
        apply_default_css=False,
    )
