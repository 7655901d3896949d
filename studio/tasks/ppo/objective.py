"""What a step of PPO makes small: the clipped objective of the policy and the clipped error of the critic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from studio.tasks.ppo.advantages import masked_mean


@dataclass(frozen=True)
class Clipping:
    """How far one step may go, and what the critic's error weighs."""

    policy: float
    value: float
    value_weight: float


@dataclass(frozen=True)
class Losses:
    """The loss with its gradient, and what is said of it: means over the tokens of the answers."""

    total: Tensor
    policy: Tensor
    value: Tensor
    clipped: Tensor
    moved: Tensor


def losses(
    log_probabilities: Tensor,
    values: Tensor,
    old_log_probabilities: Tensor,
    old_values: Tensor,
    advantages: Tensor,
    returns: Tensor,
    mask: Tensor,
    clipping: Clipping,
) -> Losses:
    """Clipped surrogate (Schulman et al. 2017, equation 7) plus the clipped squared error of the critic.

    All tensors have shape [answers, tokens]. `moved` estimates the divergence from the policy that wrote the answers.
    """
    difference = log_probabilities - old_log_probabilities
    ratio = torch.exp(difference)
    held = ratio.clamp(1 - clipping.policy, 1 + clipping.policy)
    policy = masked_mean(torch.maximum(-advantages * ratio, -advantages * held), mask)
    near = old_values + (values - old_values).clamp(-clipping.value, clipping.value)
    value = 0.5 * masked_mean(torch.maximum((values - returns) ** 2, (near - returns) ** 2), mask)
    clipped = masked_mean((-advantages * held > -advantages * ratio).float(), mask)
    moved = masked_mean(ratio - 1 - difference, mask)
    return Losses(policy + clipping.value_weight * value, policy.detach(), value.detach(), clipped, moved.detach())
