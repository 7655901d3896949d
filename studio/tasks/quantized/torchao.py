"""torchao: 8-bit weights with a scale a row, computed by PyTorch alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def options(arguments: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """transformers' configuration for it."""
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    return {"quantization_config": TorchAoConfig(Int8WeightOnlyConfig())}
