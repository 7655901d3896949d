"""Bytes in which frozen weights lie, by their quantization: pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NF4_BLOCK = 64  # weights that share a scale (bitsandbytes' blocksize)
SCALES_BLOCK = 256  # scales that share a scale when they are quantized too (QLoRA, Dettmers et al. 2023, section 3)
FLOAT32, HALF = 4, 2
FP16_SCALES = 16  # bits of a group's scale in GPTQ and AWQ checkpoints
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
    if kind == "groups":
        return math.ceil(numel * quantization["bits"] / 8)
    # One scale a row: LLM.int8() and torchao in float32, EETQ in float16.
    return numel + rows * (HALF if kind == "eetq" else FLOAT32)


def of_checkpoint(stated: Mapping[str, Any]) -> dict[str, Any] | None:
    """How the weights of a checkpoint lie while they train, from its quantization_config, as `packed_bytes` takes it;
    None where they are unpacked while loading, or by a method that is not known here: then they count in full."""
    method = stated.get("quant_method")
    if stated.get("load_in_4bit"):
        double = bool(stated.get("bnb_4bit_use_double_quant", False))
        numbers = str(stated.get("bnb_4bit_compute_dtype") or "float32").removeprefix("torch.")
        return {"type": "4bit", "options": {"bnb_4bit_use_double_quant": double, "bnb_4bit_compute_dtype": numbers}}
    if stated.get("load_in_8bit") or method == "torchao":
        return {"type": "8bit"}
    if method == "eetq":
        return {"type": "eetq"}
    if method in ("gptq", "awq"):
        bits = int(stated.get("bits", 4))
        group = int(stated.get("group_size", 128))
        # A scale and a zero point for each group, the latter in as many bits as a weight.
        return {"type": "groups", "bits": bits + ((FP16_SCALES + bits) / group if group > 0 else 0)}
    if method == "aqlm":
        codes = int(stated.get("num_codebooks", 1)) * int(stated.get("nbits_per_codebook", 16))
        return {"type": "groups", "bits": codes / int(stated.get("in_group_size", 8))}
    return None
