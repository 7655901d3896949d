"""RLOO: answers to a prompt are written in groups, each held against the mean of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback
from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.rloo_trainer import RLOOTrainer

from studio.tasks import prompts
from studio.tasks.groups import GroupTrainer, build_groups
from studio.tasks.setup import Setup
from studio.tasks.stages import sft
from studio.tasks.trainer import Meter, RunTrainer

template, prepare, load = sft.template, prompts.prepare, sft.load


class RlooTrainer(GroupTrainer, RLOOTrainer):
    """TRL's trainer of groups with the others as the baseline (Ahmadian et al. 2024)."""


def build(
    setup: Setup, model: Any, prepared: prompts.PromptSets, callbacks: Sequence[TrainerCallback], meter: Meter
) -> RunTrainer:
    """A trainer on prompts."""
    return build_groups(RlooTrainer, RLOOConfig, setup, model, prepared, callbacks, meter)
