"""Losses of pairs that need no reference: ORPO and SimPO, as functions of the answers' log-probabilities."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

# Nearer to certainty than this, the odds of an answer would be infinite.
LARGEST_LOG = -1e-6


def log_odds_ratio(chosen: Tensor, rejected: Tensor) -> Tensor:
    """log(odds(chosen) / odds(rejected)) with odds(p) = p / (1 - p), from log p of shape [pairs]; equation 4 of ORPO
    (Hong et al. 2024, arXiv 2403.07691), where p is the mean over an answer's tokens, in logs."""
    return _log_odds(chosen) - _log_odds(rejected)


def orpo_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """The odds ratio loss of each pair, equation 7 of ORPO, from mean log-probabilities of shape [pairs]."""
    return -logsigmoid(log_odds_ratio(chosen, rejected))


def simpo_loss(chosen: Tensor, rejected: Tensor, beta: float, gamma: float) -> Tensor:
    """The loss of each pair, equation 6 of SimPO (Meng et al. 2024, arXiv 2405.14734), from mean log-probabilities of
    shape [pairs]; `gamma` is the margin by which the chosen answer shall win."""
    return -logsigmoid(beta * (chosen - rejected) - gamma)


def _log_odds(log: Tensor) -> Tensor:
    log = log.float().clamp(max=LARGEST_LOG)
    return log - torch.log(-torch.expm1(log))
