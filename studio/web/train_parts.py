"""The widgets of the Train tab that its handlers write to, and what they need to know."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel

from studio.config.leaves import leaves
from studio.config.workspace import Workspace
from studio.web.form import Form
from studio.web.start import Starter
from studio.web.words import say

Updates = dict[Component, Any]


@dataclass(frozen=True)
class TrainTab:
    """The parts of the tab. `hidden` are boxes through which scripts and handlers talk: language, opened, filled."""

    form: Form
    workspace: Workspace
    starter: Starter
    hidden: Mapping[str, gr.Textbox]
    shown_faults: gr.State
    summary: gr.HTML
    command: gr.HTML
    file: gr.HTML
    start: gr.Button
    hold: gr.Button
    question: gr.Column
    question_text: gr.HTML
    answers: Mapping[str, gr.Button]
    download: gr.Button
    upload: gr.UploadButton
    reset: gr.Button


def all_folded(schema: type[BaseModel], section: str) -> bool:
    """Whether nothing of the section is basic, so that the whole of it is one line to open."""
    return all(leaf.advanced for leaf in leaves(schema) if leaf.section == section)


def shown_text(language: str, text: str) -> str:
    """A text to read and copy, word for word."""
    copy = html.escape(say(language, "page.form.copy"))
    return f'<pre>{html.escape(text)}</pre><button class="copy" type="button">{copy}</button>'
