"""bitsandbytes: 4 bits (nf4, fp4) and LLM.int8()."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.tasks.machine import Machine

_DTYPES = ("bnb_4bit_compute_dtype", "bnb_4bit_quant_storage")


def options(arguments: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """transformers' configuration for it, with formats of torch in the place of their names."""
    import torch
    from transformers import BitsAndBytesConfig

    chosen = dict(arguments["options"])
    chosen |= {name: getattr(torch, chosen[name]) for name in _DTYPES if name in chosen}
    return {"quantization_config": BitsAndBytesConfig(**chosen)}


def finish(model: Any, arguments: Mapping[str, Any], machine: Machine) -> Any:
    """The model, on a CPU with its 4-bit layers in the layout that has a gradient."""
    if machine.device == "cpu":
        keep_four_bit_trainable(model)
    return model


def keep_four_bit_trainable(model: Any) -> None:
    """Keep bitsandbytes' 4-bit layers on a CPU in the layout that has a gradient.

    On CPUs with avx512_bf16, bitsandbytes 0.50 repacks such a layer at its first evaluation and then uses a kernel
    without a correct gradient: after the first evaluation, training stops or goes wrong in silence. With the flag off
    it never repacks.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
