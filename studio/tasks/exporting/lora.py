"""A LoRA adapter as changes to single tensors: W + scale·B·A and its relatives, in the arithmetic of peft's merge.

LoRA: arXiv 2106.09685; rsLoRA: 2312.03732; DoRA: 2402.09353; BitLoRA: tasks/bitlora.py. The order of operations and
the formats on the way follow peft, so that the result is equal bit for bit where peft's own is right; merge.py says
where it is not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from studio.runs.artifacts import StoredTensor, read_header
from studio.runs.export_subject import ADAPTER_WEIGHTS, adapter_config, held_bits
from studio.tasks.exporting.tensors import read_tensor
from studio.tasks.failures import TaskError
from studio.tasks.few_bits import quantized

PREFIX = "base_model.model."

# Ways of starting an adapter that change the base model too; peft does that change again when it loads the adapter.
MOVES_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "mica", "eva")

# Settings under which the merge is another formula than those below.
OTHER_FORMULAS = (
    "use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config", "velora_config", "monteclora_config",
    "kasa_config", "target_parameters", "layer_replication", "trainable_token_indices", "megatron_config",
    "lora_ga_config", "corda_config",
)  # fmt: skip

_PART = re.compile(
    r"^(?P<module>.+)\.(?P<part>lora_[AB]\.(?:weight|bias)|lora_embedding_[AB]|lora_magnitude_vector)(?:\.weight)?$"
)


class NotStreamable(Exception):
    """The adapter is of a kind that this file does not know; the text says which."""


@dataclass(frozen=True)
class Adapter:
    """One adapter. `modules` maps a module of the base model to its parts; `whole` maps tensors that are replaced."""

    folder: Path
    settings: Mapping[str, Any]
    modules: Mapping[str, Mapping[str, StoredTensor]]
    whole: Mapping[str, StoredTensor] = field(default_factory=dict[str, StoredTensor])

    def touches(self, module: str) -> bool:
        """Whether a module, such as lm_head, is changed by it."""
        return module in self.modules or f"{module}.weight" in self.whole

    def scaling(self, module: str, rank: int) -> float:
        """alpha / r, or alpha / sqrt(r) for rsLoRA. Raises TaskError when the file and its settings disagree on r."""
        settings = self.settings
        r = _of_pattern(settings.get("rank_pattern") or {}, module, settings["r"])
        alpha = _of_pattern(settings.get("alpha_pattern") or {}, module, settings["lora_alpha"])
        if r != rank:
            raise TaskError(
                "adapter",
                f"The adapter in {self.folder} says rank {r} for {module}, but its weights have rank {rank}.",
                "adapter_config.json and adapter_model.safetensors do not belong together.",
            )
        return alpha / math.sqrt(r) if settings.get("use_rslora") else alpha / r

    def weight(self, name: str, tensor: torch.Tensor, device: str) -> torch.Tensor:
        """The tensor `name` with this adapter merged in, in the same format; the same object when it is not touched.

        Raises TaskError when shapes do not fit or the result is not finite.
        """
        if name in self.whole:
            tensor = self._replaced(name, tensor)
        module, _, kind = name.rpartition(".")
        parts = self.modules.get(module)
        if parts is None or kind not in ("weight", "bias"):
            return tensor
        tensor = tensor.to(device)
        if kind == "bias":
            result = self._bias(module, parts, tensor)
        else:
            embedding = "lora_embedding_A" in parts
            result = self._embedding(module, parts, tensor) if embedding else self._linear(module, parts, tensor)
        if not torch.isfinite(result).all():
            raise TaskError(
                "adapter",
                f"Merged with the adapter in {self.folder}, {name} holds numbers that are not finite.",
                "The training has diverged: choose an earlier checkpoint.",
            )
        return result.cpu()

    def _replaced(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        stored = self.whole[name]
        _fit(self, name, tuple(tensor.shape), stored.shape)
        return read_tensor(stored).to(tensor.dtype)

    def _delta(self, module: str, a: torch.Tensor, b: torch.Tensor, transposed: bool) -> torch.Tensor:
        product = b @ a
        return (product.T if transposed else product) * self.scaling(module, a.shape[0])

    def _linear(self, module: str, parts: Mapping[str, StoredTensor], weight: torch.Tensor) -> torch.Tensor:
        a, b = (self._part(module, parts, f"lora_{side}.weight", weight) for side in "AB")
        turned = bool(self.settings.get("fan_in_fan_out"))
        shape = (a.shape[1], b.shape[0]) if turned else (b.shape[0], a.shape[1])
        _fit(self, module, tuple(weight.shape), shape)
        delta = self._delta(module, a, b, turned)
        if "lora_magnitude_vector" not in parts:
            return weight.add_(delta)
        magnitude = self._part(module, parts, "lora_magnitude_vector", weight)
        sum_ = weight + delta
        norm = torch.linalg.norm(sum_.T if turned else sum_, dim=1)
        factor = (magnitude / norm).view(-1, 1)
        return ((factor.T if turned else factor) * sum_).to(weight.dtype)

    def _embedding(self, module: str, parts: Mapping[str, StoredTensor], weight: torch.Tensor) -> torch.Tensor:
        a, b = (self._part(module, parts, f"lora_embedding_{side}", weight) for side in "AB")
        _fit(self, module, tuple(weight.shape), (a.shape[1], b.shape[0]))
        delta = self._delta(module, a, b, transposed=True)
        if "lora_magnitude_vector" not in parts:
            return weight.add_(delta.to(weight.dtype))
        magnitude = self._part(module, parts, "lora_magnitude_vector", weight)
        sum_ = weight + delta
        norm = torch.linalg.norm(sum_.T, dim=1)
        return ((magnitude / norm).view(1, -1) * sum_).to(weight.dtype)

    def _bias(self, module: str, parts: Mapping[str, StoredTensor], bias: torch.Tensor) -> torch.Tensor:
        if "lora_B.bias" not in parts:
            return bias
        rank = parts["lora_A.weight"].shape[0]
        return bias.add_(self._part(module, parts, "lora_B.bias", bias) * self.scaling(module, rank))

    def _part(self, module: str, parts: Mapping[str, StoredTensor], name: str, like: torch.Tensor) -> torch.Tensor:
        """A part in float32, which is what peft loads adapters in, on the device of `like`."""
        if name not in parts:
            raise TaskError("adapter", f"The adapter in {self.folder} lacks {name} of {module}.", "Choose another one.")
        part = read_tensor(parts[name]).to(like.device, torch.float32)
        held = held_bits(self.settings)
        return quantized(part, held) if held and name in ("lora_A.weight", "lora_B.weight") else part


def read_adapter(folder: Path) -> Adapter:
    """The adapter in a folder. Raises NotStreamable for a kind unknown here, BadArtifact for damaged files."""
    settings = adapter_config(folder)
    _known_kind(settings)
    tensors, _ = read_header(folder / ADAPTER_WEIGHTS)
    modules: dict[str, dict[str, StoredTensor]] = {}
    whole: dict[str, StoredTensor] = {}
    for key, stored in tensors.items():
        name = key.removeprefix(PREFIX)
        found = _PART.match(name)
        if found:
            modules.setdefault(found["module"], {})[found["part"]] = stored
        elif "lora_" in name or "token_adapter" in name:
            raise NotStreamable(f"it holds {name}")
        else:
            whole[name.replace(".base_layer.", ".").replace(".modules_to_save.", ".")] = stored
    return Adapter(folder, settings, modules, whole)


def _known_kind(settings: Mapping[str, Any]) -> None:
    if settings["peft_type"] != "LORA":
        raise NotStreamable(f"it is of the kind {settings['peft_type']}")
    start = settings.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(MOVES_THE_BASE):
        raise NotStreamable(f"it was started with {start}, which changes the base model too")
    for name in OTHER_FORMULAS:
        if settings.get(name):
            raise NotStreamable(f"it uses {name}")


def _of_pattern(pattern: Mapping[str, int], module: str, default: int) -> int:
    """The value of the first key that the end of the module's name matches, as peft reads its patterns."""
    for key, value in pattern.items():
        if re.match(rf"(.*\.)?({key})$", module):
            return value
    return default


def _fit(adapter: Adapter, name: str, base: tuple[int, ...], own: Iterable[int]) -> None:
    if base != tuple(own):
        raise TaskError(
            "adapter",
            f"The adapter in {adapter.folder} does not fit this base model: {name} is {_sides(base)} in the model and "
            f"{_sides(own)} in the adapter.",
            "Choose the base model that the adapter was trained on.",
        )


def _sides(shape: Iterable[int]) -> str:
    return " × ".join(str(side) for side in shape)
