"""Odds ratio preference optimization: answers and preference are learnt at once, without a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback

from studio.tasks.dataset import Prepared
from studio.tasks.pair_trainer import OrpoTrainer, PairArguments
from studio.tasks.setup import Setup
from studio.tasks.stages import sft
from studio.tasks.trainer import Meter, RunTrainer, made

template, prepare, load = sft.template, sft.prepare, sft.load


def build(
    setup: Setup, model: Any, prepared: Prepared, callbacks: Sequence[TrainerCallback], meter: Meter
) -> RunTrainer:
    """A trainer on pairs of answers."""
    return made(OrpoTrainer, PairArguments, setup, model, prepared, callbacks, meter)
