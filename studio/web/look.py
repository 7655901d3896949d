"""How the board looks: a theme with system fonts, one stylesheet, and the scripts that run in the browser."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

from studio.web.words import languages, words

STATIC = Path(__file__).parent / "static"
SCRIPTS = ("page.js", "chart.js", "runs.js", "combo.js", "drawn_form.js")
ROOMS = ("run", "train", "data", "evaluate", "chat", "export")
"""Tabs that have several files of their own."""

_SANS = (
    "ui-sans-serif",
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Noto Sans",
    "Noto Sans CJK SC",
    "sans-serif",
)
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Noto Sans Mono", "monospace")


def theme() -> gr.themes.Base:
    """A calm theme: system fonts only, since web fonts would be fetched from another host."""
    made = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        font=_SANS,
        font_mono=_MONO,
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_sm,
        text_size=gr.themes.sizes.text_sm,
    )
    return made.set(
        body_background_fill="var(--paper)",
        body_background_fill_dark="var(--paper)",
        block_background_fill="var(--card)",
        block_background_fill_dark="var(--card)",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_title_text_weight="500",
        input_background_fill="var(--field)",
        input_background_fill_dark="var(--field)",
        input_border_color="var(--line)",
        input_border_color_dark="var(--line)",
        border_color_primary="var(--line)",
        border_color_primary_dark="var(--line)",
        button_primary_background_fill="var(--accent)",
        button_primary_background_fill_dark="var(--accent)",
        button_primary_background_fill_hover="var(--accent-strong)",
        button_primary_background_fill_hover_dark="var(--accent-strong)",
        button_primary_text_color="var(--on-accent)",
        button_primary_text_color_dark="var(--on-accent)",
        button_secondary_background_fill="var(--field)",
        button_secondary_background_fill_dark="var(--field)",
    )


def stylesheet() -> str:
    """The stylesheet: the board's, then those of the tabs that have files of their own."""
    files = (
        STATIC / "studio.css",
        STATIC / "drawn_form.css",
        STATIC / "combo.css",
        *(file for room in ROOMS for file in _room(room, "css")),
    )
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _room(name: str, ending: str) -> list[Path]:
    """The files of a tab that has several: `data.js`, then each `data_<panel>.js`."""
    return sorted(STATIC.glob(f"{name}.{ending}")) + sorted(STATIC.glob(f"{name}_*.{ending}"))


def gradio_code(language: str) -> str:
    """The code under which Gradio's own texts know a language; it ignores codes that it does not know."""
    return {"zh": "zh-CN"}.get(language, language)


def head() -> str:
    """What stands in the page's head: the words of every language for the scripts, then the scripts."""
    texts = {
        language: {key: text for key, text in words(language).items() if key.startswith("page.")}
        for language in languages()
    }
    data = json.dumps(texts, ensure_ascii=False).replace("</", "<\\/")
    files = (*(STATIC / name for name in SCRIPTS), *(file for room in ROOMS for file in _room(room, "js")))
    scripts = "\n".join(file.read_text(encoding="utf-8") for file in files)
    codes = json.dumps({language: gradio_code(language) for language in languages()})
    return f"<script>window.studio = {{ words: {data}, codes: {codes} }};\n{scripts}</script>"
