"""Which token comes next: the most probable one, or one drawn by the chance that each row brings with it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Choosing:
    """How tokens are chosen; the fields are explained in the config's section decoding."""

    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0


def choose(
    logits: Tensor, histories: Sequence[Sequence[int]], chances: Sequence[random.Random], how: Choosing
) -> list[int]:
    """One token for each row of `logits` (rows, vocabulary); `histories` are the prompts with what was answered."""
    if how.repetition_penalty != 1.0:
        logits = _penalized(logits.float().clone(), histories, how.repetition_penalty)
    if not how.do_sample:
        return logits.argmax(dim=-1).tolist()
    draws = torch.tensor([chance.random() for chance in chances], device=logits.device)
    return _drawn(logits.float(), draws, how).tolist()


def _penalized(logits: Tensor, histories: Sequence[Sequence[int]], penalty: float) -> Tensor:
    """Logits of tokens that came before are divided by the penalty, negative ones multiplied (Keskar et al., 2019)."""
    for row, history in enumerate(histories):
        seen = torch.tensor(sorted(set(history)), device=logits.device)
        values = logits[row, seen]
        logits[row, seen] = torch.where(values < 0, values * penalty, values / penalty)
    return logits


def _drawn(logits: Tensor, draws: Tensor, how: Choosing) -> Tensor:
    """Tokens by temperature, top-k and top-p in this order, taken where the cumulated probability passes the draw."""
    values, tokens = (logits / how.temperature).sort(dim=-1, descending=True, stable=True)
    if how.top_k:
        values[:, how.top_k :] = float("-inf")
    probabilities = values.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    probabilities = probabilities.masked_fill(before >= how.top_p, 0.0)  # the first always stays
    cumulated = probabilities.cumsum(dim=-1)
    places = (cumulated <= (draws[:, None] * cumulated[:, -1:])).sum(dim=-1, keepdim=True)
    return tokens.gather(-1, places.clamp_max(tokens.shape[-1] - 1)).squeeze(-1)
