"""BitLoRA: LoRA whose A and B are held to 1 bit or 1.58 bits in the forward pass, with gradients straight through.

The optimizer moves the full-precision matrices, and those are saved. adapter_config.json says to how many bits they
are held, and names a start that plain peft refuses: read as plain LoRA, the weights would mean something else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora.layer import LoraLayer
from torch import nn

from studio.tasks.failures import TaskError
from studio.tasks.few_bits import quantized, quantized_activations

KEY = "bitlora"
"""Under this key adapter_config.json holds the bits; as `init_lora_weights` it makes plain peft refuse the adapter."""

CANNOT_MERGE = (
    "A BitLoRA adapter that was trained with quantized activations cannot be merged: what it adds depends on the "
    "rounded input and not only on the weights."
)


@dataclass
class BitLoraConfig(LoraConfig):
    """LoRA's settings with the bits of A and B: "1" or "1.58"."""

    bits: str = "1.58"
    quantize_activations: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The tree that becomes adapter_config.json."""
        tree: dict[str, Any] = super().to_dict()
        held = {"bits": tree.pop("bits"), "quantize_activations": tree.pop("quantize_activations")}
        return {**tree, KEY: held, "init_lora_weights": KEY}


def read_config(folder: Path) -> BitLoraConfig | None:
    """The settings of the BitLoRA adapter in a folder, None for an adapter of another kind."""
    tree = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    held = tree.pop(KEY, None)
    if held is None:
        return None
    known = {name: value for name, value in tree.items() if name in BitLoraConfig.__dataclass_fields__}
    settings: dict[str, Any] = {**known, **held, "init_lora_weights": True}
    return BitLoraConfig(**settings)


class BitLinear(nn.Linear):
    """A or B: a linear layer that computes with its weight in few bits."""

    bits: str
    activations: bool

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The layer's output for inputs (..., width)."""
        inputs = quantized_activations(input) if self.activations else input
        return nn.functional.linear(inputs, quantized(self.weight, self.bits), self.bias)


@cache
def _bit_class(kind: type[LoraLayer]) -> type[LoraLayer]:
    """One of peft's classes of LoRA layers, holding new adapters to their bits and merging what they show."""

    def update_layer(self: Any, adapter_name: str, *rest: Any, config: LoraConfig, **options: Any) -> None:
        kind.update_layer(self, adapter_name, *rest, config=config, **options)
        if isinstance(config, BitLoraConfig):
            _hold_sides(self, adapter_name, config)

    def get_delta_weight(self: Any, adapter: str) -> torch.Tensor:
        if not isinstance(self.lora_A[adapter], BitLinear):
            return kind.get_delta_weight(self, adapter)  # pyright: ignore
        return _delta(self, adapter)

    return type(
        f"BitLora{kind.__name__}", (kind,), {"update_layer": update_layer, "get_delta_weight": get_delta_weight}
    )


def _hold_sides(layer: LoraLayer, name: str, config: BitLoraConfig) -> None:
    """Make A and B of an adapter BitLinear in place, so that their parameters keep their identity."""
    for side in (layer.lora_A[name], layer.lora_B[name]):
        side.__class__ = BitLinear
        side.bits, side.activations = config.bits, config.quantize_activations  # pyright: ignore


def _delta(layer: LoraLayer, name: str) -> torch.Tensor:
    """What a merge adds to the weight. Raises TaskError where activations are quantized too."""
    a, b = layer.lora_A[name], layer.lora_B[name]
    assert isinstance(a, BitLinear) and isinstance(b, BitLinear)
    if a.activations:
        raise TaskError("adapter", CANNOT_MERGE, "Use it beside its base model, as Studio's chat does.")
    with torch.no_grad():
        delta = quantized(b.weight, b.bits).float() @ quantized(a.weight, a.bits).float() * layer.scaling[name]
    return (delta.T if getattr(layer, "fan_in_fan_out", False) else delta).to(b.weight.dtype)


def hold_to_bits(model: Any, name: str = "default") -> None:
    """Hold the adapter `name` of a PeftModel to its bits wherever it sits, beside plain and quantized weights.

    The layers change their class and not their place, so every kind of layer that peft knows keeps its own way to
    compute and to merge. Raises TaskError for one whose adapter is not made of two linear layers.
    """
    config = model.peft_config[name]
    for path, layer in model.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        if name not in layer.lora_A and name not in layer.lora_embedding_A:
            continue
        if name not in layer.lora_A or not isinstance(layer.lora_A[name], nn.Linear):
            raise TaskError(
                "method",
                f"BitLoRA trains beside linear layers, and {path} is none.",
                "Take it out of method.target_modules; method.modules_to_save trains it in full.",
            )
        if not type(layer).__name__.startswith("BitLora"):
            layer.__class__ = _bit_class(type(layer))
        _hold_sides(layer, name, config)
