"""PPO: the model answers prompts, and learns from what the answers are worth beside a critic of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from studio.tasks.completions import COMPLETIONS, CompletionLog
from studio.tasks.ends import end_tokens
from studio.tasks.ppo.arguments import PpoArguments
from studio.tasks.ppo.trainer import PpoTrainer, with_critic
from studio.tasks.prompts import PromptSets
from studio.tasks.prompts import prepare as prompts_of_run
from studio.tasks.rewards.judging import Scorer, load_judges
from studio.tasks.setup import Setup
from studio.tasks.stages import sft
from studio.tasks.trainer import Meter, RunTrainer, made

template, load = sft.template, sft.load


def prepare(setup: Setup) -> PromptSets:
    """The prompts of the datasets, with the rows' own answers for rewards that look at them. Raises DataError."""
    return prompts_of_run(setup)


def build(
    setup: Setup, model: Any, prepared: PromptSets, callbacks: Sequence[TrainerCallback], meter: Meter
) -> RunTrainer:
    """A trainer with the critic beside the model. Raises TaskError for rewards that cannot be used."""
    judges = load_judges(setup.plan.rewards or [], setup.workspace, setup.machine)
    return made(
        PpoTrainer,
        PpoArguments,
        setup,
        with_critic(model),
        prepared,
        callbacks,
        meter,
        ends=frozenset(end_tokens(model, setup.tokenizer, setup.template)),
        scorer=Scorer(judges, prepared.prompts, setup.tokenizer),
        completions=CompletionLog(Path(setup.plan.trainer["output_dir"]) / COMPLETIONS),
    )
