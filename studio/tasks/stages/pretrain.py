"""Continued pre-training: plain text, every token of which is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback

from studio.tasks.arguments import Plan
from studio.tasks.dataset import Prepared
from studio.tasks.status import Reporter
from studio.tasks.templates import choose_template
from studio.tasks.trainer import Meter, SortedTrainer, build_trainer


def template(name: str, tokenizer: Any) -> str:
    """Plain text needs no template; one that is named is kept in the tokenizer for later use. Raises TaskError."""
    if name != "auto":
        tokenizer.chat_template = choose_template(name, tokenizer)
    return ""


def build(
    model: Any,
    tokenizer: Any,
    prepared: Prepared,
    plan: Plan,
    callbacks: Sequence[TrainerCallback],
    reporter: Reporter,
    meter: Meter,
) -> SortedTrainer:
    """The rows are already cut into blocks where data.packing asks for it; the trainer packs nothing."""
    return build_trainer(model, tokenizer, prepared, plan, callbacks, reporter, meter)
