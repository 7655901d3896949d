"""Supervised fine-tuning: conversations, of which the answers are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from studio.tasks import model as models
from studio.tasks.dataset import Prepared
from studio.tasks.dataset import prepare as tokenized
from studio.tasks.setup import Setup
from studio.tasks.templates import choose_template
from studio.tasks.tokenize import Settings
from studio.tasks.trainer import Meter, RunTrainer, made


class SftTrainer(RunTrainer, SFTTrainer):
    """TRL's trainer of token rows. Packed rows it packs itself, and tells the attention where each begins."""


def template(name: str, tokenizer: Any) -> str:
    """The chat template of the run, also kept in the tokenizer, which is saved with the result. Raises TaskError."""
    tokenizer.chat_template = choose_template(name, tokenizer)
    return tokenizer.chat_template


def prepare(setup: Setup) -> Prepared:
    """Token ids and labels of every row. Raises DataError and TaskError."""
    todo = setup.plan
    settings = Settings(**todo.tokenize)
    prepared = tokenized(setup.workspace, todo.data, setup.tokenizer, setup.template, settings, setup.reporter)
    accounts = {"Training data": prepared.train_account, "Validation data": prepared.validation_account}
    for name, account in accounts.items():
        for line in account.explain(name, settings.cutoff_len) if account else []:
            setup.reporter.notice(line)
    return prepared


def load(setup: Setup) -> Any:
    """The causal language model. Raises TaskError."""
    model = models.load_model(setup.source, setup.plan.model, setup.plan.quantization, setup.machine)
    models.check_vocabulary(setup.tokenizer, model)
    return model


def build(
    setup: Setup, model: Any, prepared: Prepared, callbacks: Sequence[TrainerCallback], meter: Meter
) -> RunTrainer:
    """A trainer on tokenized rows."""
    return made(SftTrainer, SFTConfig, setup, model, prepared, callbacks, meter)
