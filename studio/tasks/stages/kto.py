"""Kahneman-Tversky optimization: single answers, each judged good or bad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference, KTOTrainer

from studio.tasks.compared import ComparingTrainer
from studio.tasks.dataset import Prepared
from studio.tasks.setup import Setup
from studio.tasks.stages import sft
from studio.tasks.trainer import Meter, RunTrainer, made

template, prepare, load = sft.template, sft.prepare, sft.load


@dataclass
class JudgedCollator(DataCollatorForUnpairedPreference):
    """Judged answers as a batch. With `mismatched` each prompt comes a second time, with the answer of the next row:
    how likely the model finds such answers tells how far it has left the reference (the KL term of the KTO paper)."""

    mismatched: bool = True

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        if self.mismatched:
            following = [*examples[1:], examples[0]]
            examples = [
                {**example, "KL_completion_ids": other["completion_ids"]}
                for example, other in zip(examples, following, strict=True)
            ]
        return super().torch_call(examples)


class KtoTrainer(ComparingTrainer, KTOTrainer):
    """TRL's trainer of judged answers."""

    length_columns = ("prompt_ids", "completion_ids")

    def __init__(self, *, args: KTOConfig, **options: Any) -> None:
        # TRL wants rows in one fixed order, for it pairs prompts with others' answers beforehand; the collator above
        # does so within each batch, whatever the order.
        wanted = args.train_sampling_strategy
        args.train_sampling_strategy = "sequential"
        super().__init__(args=args, **options)
        self.args.train_sampling_strategy = wanted


def build(
    setup: Setup, model: Any, prepared: Prepared, callbacks: Sequence[TrainerCallback], meter: Meter
) -> RunTrainer:
    """A trainer on judged answers, beside the model as it is now."""
    mismatched = setup.plan.trainer["loss_type"] == "kto"
    collator = JudgedCollator(setup.tokenizer.pad_token_id, setup.config.data.cutoff_len, mismatched=mismatched)
    trainer = made(KtoTrainer, KTOConfig, setup, model, prepared, callbacks, meter, data_collator=collator)
    trainer.begin()
    return trainer
