"""The Chat tab: an empty frame that the browser's script fills from one server function."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.web.chat_view import ChatView

_FRAME = """<div class="chat"><aside class="chat-side"></aside><section class="chat-main"></section></div>"""


def draw(view: ChatView) -> gr.HTML:
    """Lay the tab out; `chat` is the only way in."""

    def chat(request: dict[str, Any]) -> dict[str, Any]:
        return view.chat(request)

    return gr.HTML(
        _FRAME,
        js_on_load="window.studio.drawChat(element, server);",
        server_functions=[chat],
        elem_id="chat",
        apply_default_css=False,
    )
