"""Direct preference optimization and its relatives: of two answers the better one becomes likelier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from studio.tasks.compared import ComparingTrainer
from studio.tasks.dataset import Prepared
from studio.tasks.setup import Setup
from studio.tasks.stages import sft
from studio.tasks.trainer import Meter, RunTrainer, made

template, prepare, load = sft.template, sft.prepare, sft.load


class DpoTrainer(ComparingTrainer, DPOTrainer):
    """TRL's trainer of pairs."""

    length_columns = ("prompt_ids", "chosen_ids", "rejected_ids")


def build(
    setup: Setup, model: Any, prepared: Prepared, callbacks: Sequence[TrainerCallback], meter: Meter
) -> RunTrainer:
    """A trainer on pairs of answers, beside the model as it is now."""
    trainer = made(DpoTrainer, DPOConfig, setup, model, prepared, callbacks, meter)
    trainer.begin()
    return trainer
