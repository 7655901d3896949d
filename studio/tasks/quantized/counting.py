"""Weights by number and format, packed ones as what they stand for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any


def weights(model: Any) -> Iterator[tuple[int, str, bool]]:
    """(number, format, whether it is trained) for each tensor of weights, whatever library packed it."""
    packed = {id(module.W_q): module for module in model.modules() if hasattr(module, "W_q")}
    for parameter in model.parameters():
        number, name = parameter.numel(), str(parameter.dtype).removeprefix("torch.")
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            number, name = math.prod(state.shape), f"4-bit {state.quant_type}"
        elif id(parameter) in packed:
            meta = packed[id(parameter)].meta
            number, name = math.prod(meta["shape"]), f"HQQ {meta['nbits']}-bit"
        elif type(parameter.data).__name__ == "Int8Tensor":
            name = "int8"
        yield number, name, parameter.requires_grad
    for module in model.modules():
        # GPTQ and AWQ keep packed weights as buffers, which are no parameters.
        if "qweight" in dict(module.named_buffers(recurse=False)) and hasattr(module, "in_features"):
            yield module.in_features * module.out_features, "packed", False
