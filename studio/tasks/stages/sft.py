"""Supervised fine-tuning: conversations, of which the answers are trained on."""

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
    """The chat template of the run, also kept in the tokenizer, which is saved with the result. Raises TaskError."""
    tokenizer.chat_template = choose_template(name, tokenizer)
    return tokenizer.chat_template


def build(
    model: Any,
    tokenizer: Any,
    prepared: Prepared,
    plan: Plan,
    callbacks: Sequence[TrainerCallback],
    reporter: Reporter,
    meter: Meter,
) -> SortedTrainer:
    """Packed rows (data.packing) are packed by TRL, which tells the attention where each conversation begins."""
    return build_trainer(model, tokenizer, prepared, plan, callbacks, reporter, meter)
