"""Continued pre-training: plain text, every token of which is trained on."""

from __future__ import annotations

from typing import Any

from studio.tasks.stages import sft
from studio.tasks.templates import choose_template

# The rows are already cut into blocks where data.packing asks for it; the trainer packs nothing.
prepare, load, build = sft.prepare, sft.load, sft.build


def template(name: str, tokenizer: Any) -> str:
    """Plain text needs no template; one that is named is kept in the tokenizer for later use. Raises TaskError."""
    if name != "auto":
        tokenizer.chat_template = choose_template(name, tokenizer)
    return ""
