"""The Train tab: an empty frame that the browser's script fills from one server function."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.web.train_room import TrainView


def draw(view: TrainView) -> gr.HTML:
    """Lay the tab out; `train` is the only way in."""

    def train(request: dict[str, Any]) -> dict[str, Any]:
        return view.train(request)

    return gr.HTML(
        '<div class="train"></div>',
        js_on_load="window.studio.drawTrain(element, server);",
        server_functions=[train],
        elem_id="train",
        apply_default_css=False,
    )
