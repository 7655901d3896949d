"""Layers that compute some tokens of a row and let the others pass by unchanged: Mixture-of-Depths.

Raposo et al. 2024, arXiv 2404.02258, equation 1: a router gives each token a score, the layer computes the best of a
row among themselves, and what it adds to them is multiplied by a gate of the score, so that the router learns. Three
things differ from the paper, because the layers are those of a model that is trained already:

- the gate is 2·sigmoid(score), which is exactly 1 for a router of zeros: at first a chosen token is changed as ever;
- the router sees each token divided by the root of its mean square, as single tokens are a thousand times as long;
- the count of chosen tokens is a share of the row's own tokens, so that padding changes nothing.

The best of a row depend on later tokens, which are not there when a model answers. So a small predictor learns from
each token alone whether it is among the best (section 3.5 of the paper), and outside of training it decides. Then all
tokens are computed and those that pass by are seen by none: the numbers of the rule, without saving any time.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, rms_norm

PREDICTOR_WIDTH = 128
GOLDEN = (math.sqrt(5) - 1) / 2

PASSED = -30000.0
"""In the place of a key it says that the token passed by. No key is so large, and every 16-bit format holds it."""


class Predictor(nn.Module):
    """Guesses from a token alone whether the router would choose it: yes from 0 on, for all tokens at first."""

    def __init__(self, width: int, **where: Any) -> None:
        super().__init__()
        self.inner = nn.Linear(width, PREDICTOR_WIDTH, **where)
        self.outer = nn.Linear(PREDICTOR_WIDTH, 1, **where)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """A number for each token: (rows, length, width) to (rows, length)."""
        return self.outer(nn.functional.silu(self.inner(tokens)))[..., 0]


class RoutedLayer(nn.Module):
    """Stands in front of a family's decoder layer in the list of base classes."""

    router: nn.Linear
    predictor: Predictor
    capacity: float
    number: int
    model_config: Any
    predictor_loss: torch.Tensor | None

    @property
    def eager(self) -> bool:
        """Whether masks are numbers that are added; sdpa takes bools."""
        return self.model_config._attn_implementation == "eager"

    def forward(self, hidden_states: torch.Tensor, **given: Any) -> torch.Tensor:
        """What the layer makes of (rows, length, width); the rest is what transformers gives a layer."""
        tokens = rms_norm(hidden_states.float(), hidden_states.shape[-1:]).to(self.router.weight.dtype)
        scores = self.router(tokens)[..., 0]
        guess = self.predictor(tokens.detach())
        if self.training:
            return self._best(hidden_states, scores, guess, given)
        return self._guessed(hidden_states, scores, guess >= 0, given)

    def _best(
        self, stream: torch.Tensor, scores: torch.Tensor, guess: torch.Tensor, given: dict[str, Any]
    ) -> torch.Tensor:
        """Training: the best of each row are computed among themselves, in their order and at their positions."""
        real = real_tokens(given.get("attention_mask"), scores)
        slots, taken = best_slots(scores.detach(), real, self.capacity)
        best = torch.zeros_like(real).scatter(1, slots, taken)
        self.predictor_loss = binary_cross_entropy_with_logits(guess[real].float(), best[real].float())
        positions, angles = given.pop("position_ids", None), given.pop("position_embeddings")
        given |= {
            # sdpa takes none as causal. The slots of a row that has fewer tokens come last, where no other sees them.
            "attention_mask": causal_mask(slots, stream.dtype) if self.eager else None,
            "past_key_values": None,
            "use_cache": False,
            "position_ids": None if positions is None else at_slots(positions[..., None], slots)[..., 0],
            "position_embeddings": tuple(at_slots(part, slots) for part in angles),
        }
        own = at_slots(stream, slots)
        found = gated(own, super().forward(own, **given), scores.gather(1, slots))
        places = slots[..., None].expand_as(own)
        return stream.scatter(1, places, torch.where(taken[..., None], found, own).to(stream.dtype))

    def _guessed(
        self, stream: torch.Tensor, scores: torch.Tensor, routed: torch.Tensor, given: dict[str, Any]
    ) -> torch.Tensor:
        """Answering: all are computed, those that pass by are hidden from the others, also from later ones."""
        kept = given.pop("past_key_values", None)
        mask = own_mask(given.pop("attention_mask", None), stream, kept, self.number, self.eager)
        found = super().forward(stream, attention_mask=mask, past_key_values=PassingCache(kept, ~routed, mask), **given)
        return torch.where(routed[..., None], gated(stream, found, scores), stream)


class PassingCache:
    """The cache as one routed layer sees it: tokens that pass by are marked in their keys and hidden in `mask`.

    So the mark goes wherever the rows of a cache are moved, and no cache need know of it.
    """

    def __init__(self, kept: Any, passed: torch.Tensor, mask: torch.Tensor) -> None:
        self._kept, self._passed, self._mask = kept, passed, mask

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, *rest: Any, **options: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the new keys and values (rows, heads, tokens, size); gives all of them and closes the mask."""
        keys = keys.masked_fill(self._passed[:, None, :, None], PASSED)
        if self._kept is not None:
            keys, values = self._kept.update(keys, values, *rest, **options)
        passed = keys[:, 0, :, 0] <= PASSED / 2
        mask = self._mask
        mask.masked_fill_(passed[:, None, None, :], False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min)
        # One that sees nothing would give NaN, so each sees itself. Of those that pass by nobody looks at the result.
        own = mask.diagonal(mask.shape[-1] - mask.shape[-2], -2, -1)
        own.fill_(True if mask.dtype == torch.bool else 0)
        return keys.masked_fill(passed[:, None, :, None], 0), values


def gated(before: torch.Tensor, after: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """before + gate · (after - before), written so that a gate of 1 gives `after` to the last bit."""
    gate = 2 * torch.sigmoid(scores.float())[..., None]
    return after + (gate - 1).to(after.dtype) * (after - before)


def best_slots(scores: torch.Tensor, real: torch.Tensor, capacity: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The places of the best tokens of each row, in their order, and which slots are taken: each (rows, slots).

    A row of n tokens takes ceil(capacity · n) of them. Between equal scores, as at the start, tokens are taken evenly
    from the whole row. Slots that are not taken come last and are other places of the row.
    """
    length = scores.shape[1]
    wanted = (capacity * real.sum(1).double() - 1e-6).ceil().long()
    most = max(1, int(wanted.max()))
    spread = torch.frac(torch.arange(length, device=scores.device, dtype=torch.float64) * GOLDEN).argsort()
    ranked = scores.masked_fill(~real, -torch.inf)[:, spread].argsort(dim=1, descending=True, stable=True)
    best = spread[ranked][:, :most]
    taken = torch.arange(most, device=scores.device) < wanted[:, None]
    ordered = torch.where(taken, best, best + length).sort(1).values
    return ordered % length, ordered < length


def real_tokens(mask: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """Which tokens are no padding, (rows, length): those that may look at themselves."""
    if mask is None:
        return torch.ones_like(like, dtype=torch.bool)
    own = mask[:, 0].diagonal(mask.shape[-1] - mask.shape[-2], -2, -1)
    return (own if own.dtype == torch.bool else own == 0).expand(like.shape)


def at_slots(values: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """(rows or 1, length, size) at the slots of each row."""
    rows, size = len(slots), values.shape[-1]
    return values.expand(rows, -1, -1).gather(1, slots[..., None].expand(-1, -1, size))


def causal_mask(slots: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What eager attention adds so that no slot sees a later one."""
    count = slots.shape[1]
    return torch.full((1, 1, count, count), torch.finfo(dtype).min, dtype=dtype, device=slots.device).triu(1)


def own_mask(mask: torch.Tensor | None, stream: torch.Tensor, kept: Any, number: int, eager: bool) -> torch.Tensor:
    """A mask (rows, 1, tokens, all tokens so far) that may be written into: numbers to add if `eager`, else bools."""
    rows, length = stream.shape[:2]
    if mask is not None:
        return mask.expand(rows, -1, -1, -1).clone()
    width = length + (kept.get_seq_length(number) if kept is not None else 0)
    open_ = torch.ones(length, width, dtype=torch.bool, device=stream.device).tril(width - length)
    made = open_.expand(rows, 1, -1, -1).clone()
    if not eager:
        return made
    return torch.zeros_like(made, dtype=stream.dtype).masked_fill(~made, torch.finfo(stream.dtype).min)


@cache
def _routed_class(kind: type[nn.Module]) -> type[nn.Module]:
    return type(f"Routed{kind.__name__}", (RoutedLayer, kind), {})


def route(layer: Any, number: int, config: Any, capacity: float) -> None:
    """Make the decoder layer `number` a routed one in place: its weights keep their names, router and predictor come
    beside. `config` is that of the model's text part."""
    width = config.hidden_size
    weight = next(layer.parameters())
    layer.router = nn.Linear(width, 1, bias=False, device=weight.device, dtype=weight.dtype)
    nn.init.zeros_(layer.router.weight)
    layer.predictor = Predictor(width, device=weight.device, dtype=weight.dtype)
    layer.capacity, layer.number, layer.model_config, layer.predictor_loss = capacity, number, config, None
    layer.__class__ = _routed_class(type(layer))
