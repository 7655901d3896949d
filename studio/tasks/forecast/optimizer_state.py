"""Bytes that an optimizer keeps for the weights that it moves, by its name in transformers: pure arithmetic.

Sources: Adam keeps two moments (Kingma and Ba 2015); 8-bit moments carry a scale for every 256 values (Dettmers et al.
2022); Adafactor keeps a row and a column in place of a matrix (Shazeer and Stern 2018); GaLore and APOLLO keep the
moments of a projection of rank r (Zhao et al. 2024; Zhu et al. 2024). Where a library's own state is not known here,
two moments are taken, which is the most that is usual.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

FLOAT32 = 4
BLOCK = 256
SMALLEST_QUANTIZED = 4096  # bitsandbytes keeps smaller tensors in 32 bits (min_8bit_size)
DEFAULT_RANK = 128

ONE_MOMENT = ("lion", "sgd", "adagrad", "rmsprop", "muon", "signum")


def state_bytes(
    name: str,
    shapes: Iterable[tuple[tuple[int, ...], int]],
    arguments: Mapping[str, Any],
    embedding: tuple[int, ...] = (),
) -> int:
    """Bytes kept for trained tensors, given as (shape, bytes of an element); `arguments` are the optimizer's own.

    `embedding` is the shape of the input embedding: transformers has bitsandbytes keep its moments in 32 bits.
    """
    exact = name.replace("8bit", "bnb") if "8bit" in name else name
    return sum(_one(exact if shape == embedding else name, shape, item, arguments) for shape, item in shapes)


def is_paged(name: str) -> bool:
    """Whether the state may move to main memory when the GPU is short of room."""
    return name.startswith("paged_")


def _one(name: str, shape: tuple[int, ...], item: int, arguments: Mapping[str, Any]) -> int:
    numel = math.prod(shape)
    moments = 1 if any(word in name for word in ONE_MOMENT) else 2
    if name == "sgd" and not float(arguments.get("momentum", 0)):
        return 0
    if "lomo" in name:
        return 0  # moved within the backward pass, nothing is kept but adalomo's row and column
    if "adafactor" in name:
        return FLOAT32 * (shape[0] + shape[-1] if len(shape) > 1 else numel)
    if ("galore" in name or "apollo" in name) and len(shape) == 2:
        rank = 1 if "mini" in name else min(int(arguments.get("rank", DEFAULT_RANK)), *shape)
        return FLOAT32 * (2 * rank * max(shape) + rank * min(shape))
    if "mini" in name:
        return FLOAT32 * numel + FLOAT32 * shape[0]  # Adam-mini: one second moment for a block (Zhang et al. 2024)
    if "8bit" in name and numel >= SMALLEST_QUANTIZED:
        return moments * (numel + FLOAT32 * math.ceil(numel / BLOCK))
    if "4bit" in name and numel >= SMALLEST_QUANTIZED:
        return moments * (numel // 2 + FLOAT32 * math.ceil(numel / 128))
    return moments * numel * (FLOAT32 if "bnb" in name or "8bit" in name or "paged" in name else item)
