"""The keys and values of rows that are answered together: written in place, with rows that come and go.

All rows share one width: a row's tokens end at the last column and begin where its prompt began; what lies left of that
is masked. So a new row fits in beside old ones, as long as its prompt is not longer than the width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

if TYPE_CHECKING:
    from torch import Tensor

SLACK = 64  # columns that are added or freed at a time, so that moving the rest is rare


class WindowLayer(CacheLayerMixin):
    """One layer's keys and values, each of shape (slots, heads, columns, size of a head)."""

    is_sliding = False

    def __init__(self, window: Window, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.window = window
        self.keys, self.values = keys, values
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: a window is made from the first prompts."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Put one token of each row into the next column and give everything up to it."""
        rows, column = self.window.rows, self.window.width
        self.keys[:rows, :, column : column + 1] = key_states
        self.values[:rows, :, column : column + 1] = value_states
        return self.keys[:rows, :, : column + 1], self.values[:rows, :, : column + 1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns that a query looks at, and the first of them."""
        return self.window.width + query_length, 0

    def get_seq_length(self) -> int:
        """Columns that are filled."""
        return self.window.width

    def get_max_length(self) -> int:
        """It grows."""
        return -1


class Window(Cache):
    """The cache of up to `slots` rows. Rows 0 to `rows` - 1 are in use; `starts` says in which column each begins."""

    def __init__(self, slots: int) -> None:
        super().__init__(layers=[])
        self.slots = slots
        self.width = 0
        self.starts: list[int] = []

    @property
    def rows(self) -> int:
        """Rows in use."""
        return len(self.starts)

    def fits(self, length: int) -> bool:
        """Whether a prompt of `length` tokens can be put in now."""
        return not self.rows or (self.rows < self.slots and length <= self.width)

    def add(self, prompts: Cache, lengths: list[int]) -> None:
        """Put in rows whose keys and values were made together, padded on the left to the longest of `lengths`."""
        longest = max(lengths)
        if not self.rows:
            self.width = longest
            self._reserve(prompts)
        rows, first = slice(self.rows, self.rows + len(lengths)), self.width - longest
        for ours, theirs in zip(self.layers, prompts.layers, strict=True):
            ours.keys[rows, :, first : self.width] = theirs.keys
            ours.values[rows, :, first : self.width] = theirs.values
        self.starts += [self.width - length for length in lengths]

    def remove(self, row: int) -> None:
        """Take a row out; the last row moves into its place."""
        last = self.rows - 1
        if row != last:
            for layer in self.layers:
                layer.keys[row], layer.values[row] = layer.keys[last], layer.values[last]
            self.starts[row] = self.starts[last]
        self.starts.pop()

    def make_room(self) -> None:
        """See to it that one more column can be written: free those that no row needs any more, else add some."""
        spare = min(self.starts, default=0)
        if spare >= SLACK:
            self._move_left(spare)
        if self.width == self._columns():
            self._grow()

    def advance(self) -> None:
        """The column that all layers have written counts from now on."""
        self.width += 1

    def mask(self, device: Any) -> Tensor:
        """1 where a row has a token, the next column included: shape (rows, width + 1)."""
        columns = torch.arange(self.width + 1, device=device)
        return (columns >= torch.tensor(self.starts, device=device)[:, None]).long()

    def positions(self, device: Any) -> Tensor:
        """The place of each row's next token in its own text: shape (rows, 1)."""
        return torch.tensor([[self.width - start] for start in self.starts], device=device)

    def _columns(self) -> int:
        return self.layers[0].keys.shape[2]

    def _reserve(self, prompts: Cache) -> None:
        """Room for all slots, made when the first rows come; kept when it is large enough."""
        if self.layers and self._columns() > self.width:
            return
        columns = self.width + SLACK
        self.layers = [
            WindowLayer(self, *(_room(part, self.slots, columns) for part in (layer.keys, layer.values)))
            for layer in prompts.layers
        ]

    def _move_left(self, by: int) -> None:
        for layer in self.layers:
            for part in (layer.keys, layer.values):
                part[: self.rows, :, : self.width - by] = part[: self.rows, :, by : self.width].clone()
        self.width -= by
        self.starts = [start - by for start in self.starts]

    def _grow(self) -> None:
        for layer in self.layers:
            for name in ("keys", "values"):
                old = getattr(layer, name)
                new = _room(old, self.slots, old.shape[2] + max(SLACK, old.shape[2] // 4))
                new[: self.rows, :, : self.width] = old[: self.rows, :, : self.width]
                setattr(layer, name, new)


def _room(like: Tensor, slots: int, columns: int) -> Tensor:
    """Zeros, not whatever memory held: a masked column is multiplied by 0, and 0 times NaN is NaN."""
    return like.new_zeros(slots, like.shape[1], columns, like.shape[3])
