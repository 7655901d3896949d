"""The Evaluate tab: an empty frame that the browser's script fills from one server function."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.web.evaluate_view import EvaluateView

_FRAME = """<div class="evaluate"><aside class="ev-list"></aside>
<section class="ev-side"><button class="ev-back">‹</button><div class="ev-detail"></div></section></div>"""


def draw(view: EvaluateView) -> gr.HTML:
    """Lay the tab out; `evaluate` is the only way in."""

    def evaluate(request: dict[str, Any]) -> dict[str, Any]:
        return view.evaluate(request)

    return gr.HTML(
        _FRAME,
        js_on_load="window.studio.drawEvaluate(element, server);",
        server_functions=[evaluate],
        elem_id="evaluate",
        apply_default_css=False,
    )
