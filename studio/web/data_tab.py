"""The Data tab: an empty frame that the browser's script fills from one server function."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.web.data_room import DataView

_FRAME = """<div class="data"><aside class="data-list"></aside>
<section class="data-side"><button class="back" aria-label="back">‹</button><div class="data-detail"></div></section>
</div>"""


def draw(view: DataView) -> gr.HTML:
    """Lay the tab out; `data` is the only way in."""

    def data(request: dict[str, Any]) -> dict[str, Any]:
        return view.data(request)

    return gr.HTML(
        _FRAME,
        js_on_load="window.studio.drawData(element, server);",
        server_functions=[data],
        elem_id="data",
        apply_default_css=False,
    )
