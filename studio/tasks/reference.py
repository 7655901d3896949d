"""The model as it was before the training, for stages that compare with it: kept as the weights that are trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Reference:
    """A copy of the trainable weights of a model, whatever the method, taken before the first step.

    It costs the memory of what is trained: next to nothing for adapters, as much as the model for full training. It
    holds for adapters that are continued and for starts that change the base, where switching the adapter off would
    give another model than the one that the training began with.
    """

    def __init__(self, model: Any) -> None:
        self._pairs = [(weight, weight.detach().clone()) for weight in model.parameters() if weight.requires_grad]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this block the model has the kept weights. Use it without gradients only."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        # Autocast remembers rounded weights by their place, and other numbers will lie there.
        torch.clear_autocast_cache()
        for place, (weight, kept) in enumerate(self._pairs):
            now = weight.data
            weight.data = kept
            self._pairs[place] = (weight, now)
