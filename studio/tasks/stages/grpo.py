"""GRPO: answers to a prompt are written in groups and compared with each other, without a critic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from studio.tasks import prompts
from studio.tasks.groups import GroupTrainer, build_groups
from studio.tasks.setup import Setup
from studio.tasks.stages import sft
from studio.tasks.trainer import Meter, RunTrainer

template, prepare, load = sft.template, prompts.prepare, sft.load


class GrpoTrainer(GroupTrainer, GRPOTrainer):
    """TRL's trainer of groups, whose points are taken against the group's mean (Shao et al. 2024)."""


def build(
    setup: Setup, model: Any, prepared: prompts.PromptSets, callbacks: Sequence[TrainerCallback], meter: Meter
) -> RunTrainer:
    """A trainer on prompts."""
    return build_groups(GrpoTrainer, GRPOConfig, setup, model, prepared, callbacks, meter)
