"""What every stage's trainer does in Studio's way: the order of rows, phases, saves, and a count of what is padded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from pyarrow.compute import list_value_length
from torch.utils.data import Sampler, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback

from studio.tasks.dataset import Prepared
from studio.tasks.optimizers import own_optimizer, settled, warm_up
from studio.tasks.order import epoch_order
from studio.tasks.samples import kept_random
from studio.tasks.setup import Setup
from studio.tasks.status import Reporter
from studio.tasks.trained_state import read_state, write_state


@dataclass
class Meter:
    """Places for tokens in the batches so far, padding included, and the real tokens in them.

    `tokens` may be a tensor on the device: a number is made of it only when somebody looks, or each step would wait.
    """

    places: int = 0
    tokens: int | torch.Tensor = 0

    def add(self, ids: torch.Tensor, mask: torch.Tensor | None) -> None:
        """Count a batch; without a mask (rows packed into one) every place is a token."""
        self.places += ids.numel()
        self.tokens = self.tokens + (ids.numel() if mask is None else mask.sum())


class EpochOrder(Sampler[int]):
    """The order of the epoch in which the trainer is."""

    def __init__(self, trainer: RunTrainer, lengths: Sequence[int] | None, count: int) -> None:
        self._trainer, self._lengths, self._count = trainer, lengths, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        trainer = self._trainer
        seed = trainer.args.seed if trainer.args.data_seed is None else trainer.args.data_seed
        epoch = int(trainer.state.epoch or 0)
        return iter(epoch_order(self._count, self._lengths, trainer.args.train_batch_size, seed, epoch))


class RunTrainer(Trainer):
    """Stands in front of one of TRL's trainers, or of transformers' own, in the list of base classes.

    transformers draws the order of an epoch from torch's global generator, whose state a resume in mid-epoch restores
    only after the order is drawn: grouped by length, a resumed run would see other rows.
    """

    length_columns: Sequence[str] = ("input_ids",)
    """Columns of token ids whose lengths together are the length of a row."""

    optimizer_choice: Mapping[str, Any] | None = None
    """The plan's `optimizer`; None leaves it to transformers."""

    def __init__(self, *, reporter: Reporter, meter: Meter, **options: Any) -> None:
        super().__init__(**options)
        self._reporter, self._meter = reporter, meter

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        grouped = self.args.train_sampling_strategy == "group_by_length"
        lengths = self._lengths(rows) if grouped else None
        return EpochOrder(self, lengths, len(rows))

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler[int] | None:
        # transformers groups rows by the length of input_ids alone, and in an order that is drawn each time.
        if "input_ids" not in self.length_columns:
            return SequentialSampler(eval_dataset)  # pyright: ignore[reportArgumentType]
        return super()._get_eval_sampler(eval_dataset)

    def _lengths(self, rows: Any) -> list[int]:
        # In arrow: as Python lists, 100,000 rows would take seconds.
        table = rows.with_format("arrow")[:]
        columns = [list_value_length(table[name]).to_pylist() for name in self.length_columns]
        return [sum(lengths) for lengths in zip(*columns, strict=True)]

    def _run_epoch(self, *positional: Any, **options: Any) -> None:
        # A run that has done all of its steps would do one more when it is resumed: transformers looks after a step.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*positional, **options)

    def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> torch.Tensor:
        if "input_ids" in inputs:
            self._meter.add(inputs["input_ids"], inputs.get("attention_mask"))
        return super().training_step(model, inputs, *rest, **options)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """The loss of a batch; what a model learns beside it (`side_loss`) moves weights and is not shown."""
        found = super().compute_loss(model, inputs, *rest, **options)
        beside = self.model.side_loss() if self.model.training and hasattr(self.model, "side_loss") else None
        if beside is None:
            return found
        # As TRL does it: with a count of tokens the trainer leaves the division by batches a step to the loss.
        counted = options.get("num_items_in_batch") is not None
        beside = beside / (self.current_gradient_accumulation_steps if counted else 1)
        return found + beside - beside.detach()

    def evaluate(self, *positional: Any, **options: Any) -> dict[str, float]:
        """As ever, but the training behind it draws the same dropout as without it: a data loader draws a seed too."""
        self._reporter.phase("evaluating")
        with kept_random():
            metrics = super().evaluate(*positional, **options)
        self._reporter.phase("training")
        return metrics

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._reporter.phase("saving", f"checkpoint-{self.state.global_step}")
        with settled(self.optimizer):
            super()._save_checkpoint(model, trial)
        self._reporter.phase("training")

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimizer of the plan, by our own hands where transformers has none of that name."""
        if self.optimizer is None and self.optimizer_choice is not None:
            self.optimizer = own_optimizer(self, self.optimizer_choice)
        return super().create_optimizer(model)

    def create_scheduler(self, num_training_steps: int, *rest: Any, **options: Any) -> Any:
        """The schedule; what an optimizer needs to know of the length of the run is said to it here."""
        warm_up(self.optimizer, self.args.get_warmup_steps(num_training_steps))
        return super().create_scheduler(num_training_steps, *rest, **options)

    def save_model(self, *positional: Any, **options: Any) -> None:
        with settled(self.optimizer):
            super().save_model(*positional, **options)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if (stored := getattr(self.model, "stored_form", None)) is not None:
            stored.write(Path(output_dir or self.args.output_dir))
        if output_dir not in (None, self.args.output_dir):  # the result of the run needs no more than its weights
            write_state(self.model, Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if not self._read(Path(resume_from_checkpoint)):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        if not self._read(Path(self.state.best_model_checkpoint)):
            super()._load_best_model()

    def _read(self, folder: Path) -> bool:
        """Load what lies otherwise than peft or transformers write it; False where nothing does."""
        if (stored := getattr(self.model, "stored_form", None)) is not None:
            stored.read(folder)
            return True
        return read_state(self.model, folder)

    def create_model_card(self, *positional: Any, **options: Any) -> None:
        """No card: TRL would write one beside the run's files at every checkpoint."""


def made(
    trainer: type[RunTrainer],
    config: type[Any],
    setup: Setup,
    model: Any,
    prepared: Prepared,
    callbacks: Sequence[TrainerCallback],
    meter: Meter,
    **options: Any,
) -> Any:
    """A trainer of that class on prepared rows, ready for `train()`; `config` is the class of its arguments."""
    arguments = setup.plan.trainer
    ready = trainer(
        reporter=setup.reporter,
        meter=meter,
        model=model,
        args=config(**arguments),
        train_dataset=prepared.train,
        eval_dataset=prepared.validation if arguments["eval_strategy"] != "no" else None,
        processing_class=setup.tokenizer,
        callbacks=list(callbacks),
        **options,
    )
    ready.optimizer_choice = setup.plan.optimizer
    ready.remove_callback(PrinterCallback)
    if setup.plan.method["float32"]:
        _hold_trained_in_float32(ready.model)
    return ready


def _hold_trained_in_float32(model: Any) -> None:
    """TRL rounds the adapters of quantized models to bfloat16, in which small updates vanish and fp16 cannot scale."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
