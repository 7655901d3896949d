"""Sequences of different lengths in one key-value cache: they join and leave between two tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache

from studio.tasks.soft_prompt import SoftPrompt


class Rows:
    """The cache of the sequences that are decoded together, aligned on the right.

    A row's own tokens stand in the last `lengths[row]` places; what lies left of them is masked out. Layers with a
    sliding window are kept whole, and the model's mask hides what lies outside of it. A soft prompt `front` stands in
    front of each row and counts as its own.
    """

    def __init__(self, model: Any, front: SoftPrompt | None = None) -> None:
        self.model, self._front = model, front
        self.lengths: list[int] = []
        self._cache: DynamicCache | None = None

    def join(self, ids: Sequence[int]) -> torch.Tensor:
        """Read a prompt and add it as the last row; the logits of its next token, a vector of the vocabulary."""
        logits, own = self._read(torch.tensor([list(ids)], device=self.model.device))
        length = len(ids) + (self._front.places if self._front else 0)
        if self._cache is None or not self.lengths:
            self._cache, self.lengths = own, [length]
            return logits.float()
        width = max(*self.lengths, length)
        for layer, new in zip(self._cache.layers, own.layers, strict=True):
            layer.keys = torch.cat([_widened(layer.keys, width), _widened(new.keys, width)])
            layer.values = torch.cat([_widened(layer.values, width), _widened(new.values, width)])
        self.lengths.append(length)
        return logits.float()

    def _read(self, ids: torch.Tensor) -> tuple[torch.Tensor, DynamicCache]:
        """A prompt (1, tokens) through the model: the logits of the next token, and the filled cache."""
        if self._front:
            output, cache = self._front.forward(self.model, ids, logits_to_keep=1)
        else:
            cache = DynamicCache()
            output = self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[0, -1], cache

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to each row; the logits of the next ones, [rows, vocabulary]."""
        width = max(self.lengths) + 1
        device = self.model.device
        lengths = torch.tensor(self.lengths, device=device)
        places = torch.arange(width, device=device)
        mask = (places[None, :] >= width - 1 - lengths[:, None]).long()
        output = self.model(
            input_ids=torch.tensor(tokens, device=device)[:, None],
            attention_mask=mask,
            position_ids=lengths[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self.lengths = [length + 1 for length in self.lengths]
        return output.logits[:, -1].float()

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row but these, in this order, and the places that no row needs any more."""
        self.lengths = [self.lengths[row] for row in rows]
        if not rows or self._cache is None:
            self._cache = None
            return
        chosen, width = torch.tensor(list(rows), device=self.model.device), max(self.lengths)
        for layer in self._cache.layers:
            layer.keys = layer.keys[chosen][:, :, -width:].contiguous()
            layer.values = layer.values[chosen][:, :, -width:].contiguous()


def _widened(states: Any, width: int) -> torch.Tensor:
    """[rows, heads, length, size] with empty places on the left, up to `width`."""
    return pad(states, (0, 0, width - states.shape[-2], 0))
