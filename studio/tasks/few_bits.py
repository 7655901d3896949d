"""Matrices in 1 or 1.58 bits and activations in 8, with gradients straight through: torch alone, so exports stay light.

Weights: 1 bit is sign(W) * mean|W| (XNOR-Net, arXiv 1603.05279); 1.58 bits are round(W / mean|W|) clipped to -1, 0, 1,
times mean|W| (BitNet b1.58, arXiv 2402.17764). One scale a matrix. Activations: 8 bits by the largest one of each
token, behind an RMS norm without parameters (BitNet, arXiv 2310.11453). Gradients pass the rounding as if it were not
there (straight-through estimator, arXiv 1308.3432).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import Function

LEAST = 1e-8
"""The smallest scale that is divided by: a matrix of zeros has the scale 0 and stays a matrix of zeros."""

LEVELS = 127
"""The largest whole number that an activation becomes."""


class _Straight(Function):
    """Another value with the gradient of the one that it stands for."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        return shown.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None


def quantized(weight: torch.Tensor, bits: str) -> torch.Tensor:
    """The matrix in `bits`, "1" or "1.58", in the same format. In 1 bit a single zero among others counts as +1."""
    with torch.no_grad():
        scale = weight.abs().mean()
        if bits == "1":
            values = torch.where(weight < 0, -1.0, 1.0).to(weight.dtype)
        else:
            values = (weight / scale.clamp(min=LEAST)).round().clamp(-1, 1)
        shown = values * scale
    return _Straight.apply(weight, shown)  # pyright: ignore[reportReturnType]


def quantized_activations(inputs: torch.Tensor) -> torch.Tensor:
    """Inputs divided by the root of their mean square and rounded to 8 bits, each token (last dimension) by itself."""
    normal = inputs * torch.rsqrt(inputs.float().pow(2).mean(dim=-1, keepdim=True) + LEAST).to(inputs.dtype)
    with torch.no_grad():
        scale = LEVELS / normal.abs().amax(dim=-1, keepdim=True).clamp(min=LEAST)
        shown = (normal * scale).round().clamp(-LEVELS - 1, LEVELS) / scale
    return _Straight.apply(normal, shown)  # pyright: ignore[reportReturnType]
