"""EETQ: 8-bit weights with kernels for NVIDIA GPUs, which the package kernels fetches from the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def options(arguments: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """transformers' configuration for it."""
    from transformers import EetqConfig

    return {"quantization_config": EetqConfig("int8")}
