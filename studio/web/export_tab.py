"""The Export tab: an empty frame that the browser's script fills from one server function."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.web.export_view import ExportView

_FRAME = """<div class="export"><aside class="ex-list"></aside>
<section class="ex-side"><div class="ex-wizard" hidden></div><div class="ex-one" hidden></div></section></div>"""


def draw(view: ExportView) -> gr.HTML:
    """Lay the tab out; `export` is the only way in."""

    def export(request: dict[str, Any]) -> dict[str, Any]:
        return view.export(request)

    return gr.HTML(
        _FRAME,
        js_on_load="window.studio.drawExport(element, server);",
        server_functions=[export],
        elem_id="export",
        apply_default_css=False,
    )
