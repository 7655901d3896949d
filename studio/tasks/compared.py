"""What the trainers share that compare the model with how it was: where TRL expects a second model, the same one
answers with the weights that it began with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from studio.tasks.reference import Reference
from studio.tasks.trainer import RunTrainer


class Beginning(nn.Module):
    """Answers as the model did when `keep` was called; until then as the model does.

    Whatever the method, these are the weights from which the training began. TRL would load the model's folder again,
    which knows nothing of what was changed after loading, or copy the adapter, which for adapters that start from the
    base's own weights takes a second part out of the base.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.config = model.config
        self._asked = [model]  # in a list, so that the model does not become a part of this one
        self._kept: Reference | None = None

    def keep(self) -> None:
        """From now on the reference is the model as it is now."""
        self._kept = Reference(self._asked[0])

    def forward(self, **inputs: Any) -> Any:
        """What the model gave then for the same inputs: without dropout and without gradients."""
        (model,) = self._asked
        with torch.no_grad(), _evaluating(model):
            if self._kept is None:
                return model(**inputs)
            with self._kept.in_place():
                return model(**inputs)


class ComparingTrainer(RunTrainer):
    """Stands in front of a trainer of TRL that has a reference model. Its rows are tokenized already."""

    def __init__(self, *, model: Any, **options: Any) -> None:
        self._begun = False
        # TRL changes the reference that it is given as it changes a model; this one is for that and is thrown away.
        super().__init__(model=model, ref_model=Beginning(model), **options)
        self.ref_model: Beginning | None = Beginning(self.model)

    def begin(self) -> None:
        """Take the reference; the model must be as it goes into the training. A resumed run takes the same one, since
        the checkpoint is loaded later."""
        self._begun = True
        reference, arguments = self.ref_model, self.args
        assert reference is not None
        if not arguments.precompute_ref_log_probs:
            reference.keep()
            return
        batch = arguments.precompute_ref_batch_size or arguments.per_device_train_batch_size
        self.train_dataset = self._precompute_ref_logps(self.train_dataset, "train", batch)
        if self.eval_dataset is not None:
            self.eval_dataset = self._precompute_ref_logps(self.eval_dataset, "eval", batch)
        self.ref_model = None

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        if not self._begun:  # TRL calls it before the model is as it goes into the training
            return dataset
        self._reporter.phase("computing the reference")
        return super()._precompute_ref_logps(dataset, name, batch_size)  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
