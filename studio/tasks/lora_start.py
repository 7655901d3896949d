"""How LoRA's matrices begin where not at random: from the base's weights, from data, from what 4 bits lose.

PiSSA (arXiv 2404.02948) and OLoRA (2406.01775) take a part s·B₀·A₀ out of a weight W and train it: the model computes
with (W - s·B₀·A₀) + s·B·A. Since that is W + s·[B, -B₀]·[A; A₀], such an adapter is stored as a plain LoRA of twice the
rank that fits W as it was. The halves also hold all that a resumed run needs to take the same part out again.
LoftQ (2310.08659) and EVA (2410.07170) leave the base as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from studio.runs.artifacts import model_tensors
from studio.runs.atomic import write_json
from studio.tasks.exporting.tensors import read_tensor
from studio.tasks.failures import TaskError

ADAPTER = "default"
Pair = tuple[torch.Tensor, torch.Tensor]


def adapted_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """The matrices with an adapter, by their full names. Raises TaskError for embeddings, which have no such start."""
    from peft.tuners.lora.layer import LoraLayer

    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        if ADAPTER not in layer.lora_A:
            raise TaskError(
                "method",
                f"{name.rpartition('.')[2]} is no matrix of a linear layer, and method.start works on those alone.",
                "Take it out of method.target_modules, or choose method.start=default.",
            )
        yield name, layer


@torch.no_grad()
def take_out(model: Any, kind: str) -> None:
    """Begin with the strongest directions of each weight, which are taken out of it; `kind` as in method.start."""
    first: dict[str, Pair] = {}
    for name, layer in adapted_layers(model):
        side_a, side_b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        weight = layer.get_base_layer().weight
        kept, dtypes = weight.data.clone(), (side_a.dtype, side_b.dtype)
        if kind == "olora":
            layer.olora_init(ADAPTER)
        else:
            layer.pissa_init(ADAPTER, kind)
        weight.data = kept
        side_a.data, side_b.data = side_a.data.to(dtypes[0]), side_b.data.to(dtypes[1])
        first[name] = _shift(layer, side_a.data.clone(), side_b.data.clone())
    model.stored_form = ShiftedAdapter(model, first)


@torch.no_grad()
def take_out_again(model: Any, checkpoint: Path) -> None:
    """Begin exactly as the run did that wrote `checkpoint`. Raises TaskError when the adapter is of another shape."""
    from safetensors.torch import load_file

    tensors, first = load_file(checkpoint / "adapter_model.safetensors"), dict[str, Pair]()
    for name, layer in adapted_layers(model):
        side_a, side_b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        rank = side_a.shape[0]
        both = tensors.get(f"{name}.lora_A.weight"), tensors.get(f"{name}.lora_B.weight")
        if both[0] is None or both[1] is None or both[0].shape[0] != 2 * rank:
            raise TaskError(
                "checkpoint",
                f"The adapter in {checkpoint.name} is of another shape than this run's config says.",
                "Put method.rank, method.target_modules and method.layers back to what they were.",
            )
        side_a.data = both[0][rank:].to(side_a)
        side_b.data = -both[1][:, rank:].to(side_b)
        first[name] = _shift(layer, side_a.data.clone(), side_b.data.clone())
    model.stored_form = ShiftedAdapter(model, first)


def _shift(layer: Any, side_a: torch.Tensor, side_b: torch.Tensor) -> Pair:
    """Take s·B₀·A₀ out of the weight below an adapter."""
    weight = layer.get_base_layer().weight
    part = layer.scaling[ADAPTER] * (side_b.float() @ side_a.float())
    part = part.T if layer.fan_in_fan_out else part
    weight.data = (weight.data.float() - part).to(weight.dtype)
    return side_a, side_b


class ShiftedAdapter:
    """How an adapter beside weights that a part was taken out of lies on the disk: as a plain one of twice the rank."""

    def __init__(self, model: Any, first: Mapping[str, Pair]) -> None:
        self._model, self._first = model, first

    def write(self, folder: Path) -> None:
        """Turn the adapter that peft has just saved in `folder` into one for the base as it was. Raises OSError."""
        from safetensors.torch import load_file, save_file

        file = folder / "adapter_model.safetensors"
        tensors = load_file(file)
        for name, (side_a, side_b) in self._first.items():
            keys = f"{name}.lora_A.weight", f"{name}.lora_B.weight"
            trained_a, trained_b = (tensors[key] for key in keys)
            tensors[keys[0]] = torch.cat([trained_a, side_a.to(trained_a)], dim=0).contiguous()
            tensors[keys[1]] = torch.cat([trained_b, -side_b.to(trained_b)], dim=1).contiguous()
        draft = file.with_name(".adapter_model.draft")
        save_file(tensors, draft, metadata={"format": "pt"})
        draft.replace(file)
        config = folder / "adapter_config.json"
        write_json(config, _doubled(json.loads(config.read_text(encoding="utf-8"))), durable=True)

    def read(self, folder: Path) -> None:
        """Put the trained half of the adapter in `folder` into the model."""
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        tensors = load_file(folder / "adapter_model.safetensors")
        for name, (side_a, _) in self._first.items():
            rank = side_a.shape[0]
            tensors[f"{name}.lora_A.weight"] = tensors[f"{name}.lora_A.weight"][:rank]
            tensors[f"{name}.lora_B.weight"] = tensors[f"{name}.lora_B.weight"][:, :rank]
        set_peft_model_state_dict(self._model, tensors, adapter_name=ADAPTER)


def _doubled(config: dict[str, Any]) -> dict[str, Any]:
    """adapter_config.json for twice the rank at the same strength: alpha / r, or alpha / √r for rsLoRA."""
    factor = math.sqrt(2) if config.get("use_rslora") else 2
    ranks = {key: 2 * rank for key, rank in (config.get("rank_pattern") or {}).items()}
    alphas = {key: factor * alpha for key, alpha in (config.get("alpha_pattern") or {}).items()}
    strength = {"lora_alpha": factor * config["lora_alpha"], "alpha_pattern": alphas}
    return {**config, "r": 2 * config["r"], "rank_pattern": ranks, **strength, "init_lora_weights": True}


@torch.no_grad()
def make_up_for_four_bits(model: Any, source: str) -> None:
    """Begin with what the 4-bit weights lack: s·B·A is the best of its rank for W - Q (LoftQ with one step).

    `source` is the model's folder or its id on the hub. Raises TaskError when the weights in 16 bits are not there.
    """
    from peft.utils.integrations import dequantize_module_weight

    tensors = model_tensors(_folder(source))
    for name, layer in adapted_layers(model):
        key = f"{name.removeprefix('base_model.model.')}.weight"
        if key not in tensors:
            raise TaskError(
                "method",
                f"The files of the model keep {key} under another name, so loftq cannot see what 4 bits lost.",
                "Choose method.start=default.",
            )
        held = dequantize_module_weight(layer.get_base_layer()).float()
        lost = read_tensor(tensors[key]).to(held) - held
        side_a, side_b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        left, sizes, right = torch.linalg.svd(lost, full_matrices=False)
        rank = side_a.shape[0]
        root = torch.sqrt(sizes[:rank] / layer.scaling[ADAPTER])
        side_a.data = (root[:, None] * right[:rank]).to(side_a).contiguous()
        side_b.data = (left[:, :rank] * root).to(side_b).contiguous()


def _folder(source: str) -> Path:
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(source, local_files_only=True))


def look_at_the_data(model: Any, loader: Any) -> None:
    """Begin with the strongest directions of what the layers see of the training data (EVA), every rank as asked for.

    `loader` gives the trainer's own batches.
    """
    from peft import EvaConfig, initialize_lora_eva_weights

    config = model.peft_config[ADAPTER]
    patterns = dict(config.rank_pattern), dict(config.alpha_pattern), config.target_modules
    dtypes = {name: layer.lora_A[ADAPTER].weight.dtype for name, layer in adapted_layers(model)}
    config.init_lora_weights, config.eva_config = "eva", EvaConfig(rho=1.0, adjust_scaling_factors=False)
    try:
        initialize_lora_eva_weights(model, loader, show_progress_bar=False)
    finally:
        config.init_lora_weights, config.eva_config = True, None
        config.rank_pattern, config.alpha_pattern, config.target_modules = patterns
    for name, layer in adapted_layers(model):
        layer.lora_A[ADAPTER].to(dtypes[name])
        layer.lora_B[ADAPTER].to(dtypes[name])
