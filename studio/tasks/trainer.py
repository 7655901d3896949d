"""TRL's SFT trainer with our order of rows, our phases, and a count of what is padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from pyarrow.compute import list_value_length
from torch.utils.data import Sampler
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from studio.tasks.arguments import Plan
from studio.tasks.dataset import Prepared
from studio.tasks.order import epoch_order
from studio.tasks.samples import kept_random
from studio.tasks.status import Reporter


@dataclass
class Meter:
    """Places for tokens in the batches so far, padding included."""

    places: int = 0


class EpochOrder(Sampler[int]):
    """The order of the epoch in which the trainer is."""

    def __init__(self, trainer: SortedTrainer, lengths: Sequence[int] | None, count: int) -> None:
        self._trainer, self._lengths, self._count = trainer, lengths, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        trainer = self._trainer
        seed = trainer.args.seed if trainer.args.data_seed is None else trainer.args.data_seed
        epoch = int(trainer.state.epoch or 0)
        return iter(epoch_order(self._count, self._lengths, trainer.args.train_batch_size, seed, epoch))


class SortedTrainer(SFTTrainer):
    """The trainer of conversations and plain text.

    transformers draws the order of an epoch from torch's global generator, whose state a resume in mid-epoch restores
    only after the order is drawn: grouped by length, a resumed run would see other rows.
    """

    def __init__(self, *, reporter: Reporter, meter: Meter, **options: Any) -> None:
        super().__init__(**options)
        self._reporter, self._meter = reporter, meter

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        grouped = self.args.train_sampling_strategy == "group_by_length"
        # In arrow: as Python lists, 100,000 rows would take seconds.
        lengths = list_value_length(rows.with_format("arrow")[:]["input_ids"]).to_pylist() if grouped else None
        return EpochOrder(self, lengths, len(rows))

    def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> torch.Tensor:
        self._meter.places += inputs["input_ids"].numel()
        return super().training_step(model, inputs, *rest, **options)

    def evaluate(self, *positional: Any, **options: Any) -> dict[str, float]:
        """As ever, but the training behind it draws the same dropout as without it: a data loader draws a seed too."""
        self._reporter.phase("evaluating")
        with kept_random():
            metrics = super().evaluate(*positional, **options)
        self._reporter.phase("training")
        return metrics

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._reporter.phase("saving", f"checkpoint-{self.state.global_step}")
        super()._save_checkpoint(model, trial)
        self._reporter.phase("training")

    def create_model_card(self, *positional: Any, **options: Any) -> None:
        """No card: TRL would write one beside the run's files at every checkpoint."""


def build_trainer(
    model: Any,
    tokenizer: Any,
    prepared: Prepared,
    plan: Plan,
    callbacks: Sequence[TrainerCallback],
    reporter: Reporter,
    meter: Meter,
) -> SortedTrainer:
    """A trainer on tokenized rows, ready for `train()`."""
    trainer = SortedTrainer(
        reporter=reporter,
        meter=meter,
        model=model,
        args=SFTConfig(**plan.trainer),
        train_dataset=prepared.train,
        eval_dataset=prepared.validation if plan.trainer["eval_strategy"] != "no" else None,
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
    trainer.remove_callback(PrinterCallback)
    if plan.method.get("float32"):
        _hold_trained_in_float32(trainer.model)
    return trainer


def _hold_trained_in_float32(model: Any) -> None:
    """TRL rounds the adapters of quantized models to bfloat16, in which small updates vanish and fp16 cannot scale."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
