"""Bytes in which frozen weights lie, by their quantization: pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NF4_BLOCK = 64  # weights that share a scale (bitsandbytes' blocksize)
SCALES_BLOCK = 256  # scales that share a scale when they are quantized too (QLoRA, Dettmers et al. 2023, section 3)
FLOAT32, HALF = 4, 2
HQQ_PER_WORD: Mapping[int, tuple[int, int]] = {  # bits -> weights in one word, bytes of the word (hqq.core.bitpack)
    8: (1, 1), 6: (1, 1), 5: (1, 1), 4: (2, 1), 3: (10, 4), 2: (4, 1), 1: (8, 1),
}  # fmt: skip


def packed_bytes(shape: tuple[int, ...], quantization: Mapping[str, Any]) -> int:
    """Bytes of one matrix of `shape` (outputs, inputs) with its scales. `quantization` is the plan's, with its type."""
    numel, rows = math.prod(shape), shape[0]
    kind = quantization["type"]
    if kind == "4bit":
        scales = math.ceil(numel / NF4_BLOCK)
        if quantization["options"]["bnb_4bit_use_double_quant"]:
            return numel // 2 + scales + FLOAT32 * math.ceil(scales / SCALES_BLOCK)
        return numel // 2 + FLOAT32 * scales
    if kind == "hqq":
        many, word = HQQ_PER_WORD[quantization["bits"]]
        groups = math.ceil(numel / quantization["group_size"])
        return math.ceil(numel / many) * word + 2 * HALF * groups  # a scale and a zero for each group
    # One scale a row: LLM.int8() and torchao in float32, EETQ in float16.
    return numel + rows * (HALF if kind == "eetq" else FLOAT32)
