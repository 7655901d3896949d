"""Reward model: a score for an answer, learnt from pairs of which one is better."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import DataCollatorForPreference, RewardTrainer

from studio.tasks import model as models
from studio.tasks.adapter import adapter_folder
from studio.tasks.dataset import Prepared
from studio.tasks.failures import TaskError
from studio.tasks.reward_head import padding_token, stay_exact
from studio.tasks.setup import Setup
from studio.tasks.stages import sft
from studio.tasks.trainer import Meter, RunTrainer, made

prepare = sft.prepare


@dataclass
class WholeAnswers(DataCollatorForPreference):
    """Pairs as a batch of whole rows: the score is read behind the answer's last token."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        sides = ("chosen_ids", "rejected_ids")
        return super().torch_call([{side: row["prompt_ids"] + row[side] for side in sides} for row in examples])


class ScoreTrainer(RunTrainer, RewardTrainer):
    """TRL's trainer of reward models. Its rows are tokenized already."""

    length_columns = ("prompt_ids", "chosen_ids", "rejected_ids")

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = list(self.length_columns)


def template(name: str, tokenizer: Any) -> str:
    """The chat template of the run, kept in the tokenizer, whose padding now ends no answer. Raises TaskError."""
    tokenizer.pad_token = padding_token(tokenizer)
    return sft.template(name, tokenizer)


def load(setup: Setup) -> Any:
    """The model with a scoring head in place of that for words, a new one where it has none. Raises TaskError."""
    plan = setup.plan
    for path in plan.method["adapters"]:
        stated = json.loads((adapter_folder(path, setup.workspace) / "adapter_config.json").read_text(encoding="utf-8"))
        if stated.get("task_type") != "SEQ_CLS":
            raise TaskError(
                "method",
                f"The adapter in {path} was trained to write words, and a reward model has no place for it.",
                "Merge it into a model first (studio export) and choose that one as model.path.",
            )
    model = models.load_model(setup.source, plan.model, plan.quantization, setup.machine, "new score")
    models.check_vocabulary(setup.tokenizer, model)
    return stay_exact(model)


def build(
    setup: Setup, model: Any, prepared: Prepared, callbacks: Sequence[TrainerCallback], meter: Meter
) -> RunTrainer:
    """A trainer on pairs of whole rows."""
    collator = WholeAnswers(setup.tokenizer.pad_token_id)
    return made(ScoreTrainer, RewardConfig, setup, model, prepared, callbacks, meter, data_collator=collator)
