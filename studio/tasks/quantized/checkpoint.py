"""Weights that are quantized already: transformers reads from their config.json how.

Formats that only compute and have no gradient are unpacked while loading when something is trained beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.config.quantization_support import CHECKPOINTS, method_of
from studio.tasks.machine import Machine


def options(arguments: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Nothing; the config itself says to unpack where training needs it."""
    support = CHECKPOINTS.get(method_of(config.to_dict()) or "")
    if arguments["trains"] and support is not None and support.training == "unpacked":
        config.quantization_config = {**_as_dict(config.quantization_config), "dequantize": True}
    return {}


def finish(model: Any, arguments: Mapping[str, Any], machine: Machine) -> Any:
    """The model; 4-bit layers of bitsandbytes on a CPU need the same care as those that were packed here.

    What was never packed keeps the format of its file when the rest is unpacked, so all of it is brought to one.
    """
    if arguments["trains"] and not getattr(model, "is_quantized", False):
        model = model.to(model.config.dtype)
    if machine.device == "cpu" and method_of(model.config.to_dict()) == "bitsandbytes":
        from studio.tasks.quantized.bitsandbytes import keep_four_bit_trainable

        keep_four_bit_trainable(model)
    return model


def _as_dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else value.to_dict()
