"""From points and estimates to advantages: pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_VARIANCE = 1e-8


def advantages_of(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Advantages and returns of every token by generalized advantage estimation (Schulman et al. 2016, equation 16).

    All tensors have shape [answers, tokens]; `mask` is 1 on the tokens of an answer, which begin at the left and are
    followed by padding alone. `values[:, t]` is the estimate before token t. Behind the last token nothing follows.
    """
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])  # the advantage of the next token
    for place in range(rewards.shape[1] - 1, -1, -1):
        last = place + 1 == rewards.shape[1]
        next_value = torch.zeros_like(following) if last else values[:, place + 1] * mask[:, place + 1]
        surprise = rewards[:, place] + gamma * next_value - values[:, place]
        following = (surprise + gamma * lam * following) * mask[:, place]
        advantages[:, place] = following
    return advantages, (advantages + values) * mask


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values under a mask of zeros and ones; 0 when it is empty."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def whitened(values: Tensor, mask: Tensor, centre: bool = True) -> Tensor:
    """The values under the mask with deviation 1 and, with `centre`, mean 0; a single value is left alone."""
    if mask.sum() < 2:
        return values * mask
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    scaled = (values - mean) * torch.rsqrt(variance + SMALLEST_VARIANCE)
    return (scaled if centre else scaled + mean) * mask


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """How much of the returns' variance the estimates explain: 1 is all, 0 is none, below 0 worse than their mean."""
    spread = masked_mean((returns - masked_mean(returns, mask)) ** 2, mask)
    error = returns - values
    left = masked_mean((error - masked_mean(error, mask)) ** 2, mask)
    return float(1 - left / spread) if spread > SMALLEST_VARIANCE else 0.0
