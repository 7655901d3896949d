"""The merged model as a stream of tensors: base shards through the adapters, one tensor at a time.

Equal bit for bit to peft's merge_and_unload in the same format, but for one case: where input and output embeddings are
one tensor and an adapter touches one of them, peft adds its delta to both in place. While it was trained only the one
side had it, so here the two part ways, as the tuned model had them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from studio.runs.artifacts import FLOATS, StoredTensor, model_tensors, read_config
from studio.runs.export_subject import Subject
from studio.tasks.adapter import Unfit, load
from studio.tasks.exporting.lora import Adapter, NotStreamable, read_adapter
from studio.tasks.exporting.shards import Output
from studio.tasks.exporting.tensors import DTYPES, read_tensor
from studio.tasks.failures import TaskError

# Names of the input embedding in the checkpoints of the families that are trained here.
INPUT_EMBEDDINGS = (
    "model.embed_tokens", "embed_tokens", "transformer.wte", "wte", "gpt_neox.embed_in",
    "model.language_model.embed_tokens", "language_model.model.embed_tokens", "backbone.embeddings",
)  # fmt: skip
OUTPUT_EMBEDDING = "lm_head"


@dataclass(frozen=True)
class Merging:
    """What is merged: the tensors of the base, the adapters in order, the format (None keeps each tensor's own)."""

    base: Mapping[str, StoredTensor]
    adapters: tuple[Adapter, ...]
    dtype: torch.dtype | None
    device: str
    config: Mapping[str, Any]
    untied: str = ""  # the input embedding from which an output embedding of its own is made

    @property
    def outputs(self) -> list[Output]:
        """What comes out, in the order of the base."""
        found = [Output(stored.name, self._dtype(stored), stored.shape) for stored in self.base.values()]
        if self.untied:
            stored = self.base[f"{self.untied}.weight"]
            found.append(Output(f"{OUTPUT_EMBEDDING}.weight", self._dtype(stored), stored.shape))
        return found

    def load(self, name: str) -> torch.Tensor:
        """One merged tensor. Raises TaskError."""
        source = f"{self.untied}.weight" if self.untied and name == f"{OUTPUT_EMBEDDING}.weight" else name
        stored = self.base[source]
        tensor = read_tensor(stored).to(self._dtype(stored))
        for adapter in self.adapters:
            tensor = adapter.weight(name, tensor, self.device)
        return tensor

    def model_config(self) -> dict[str, Any]:
        """config.json of the merged model."""
        config = dict(self.config)
        if self.dtype is not None:
            config.pop("torch_dtype", None)
            config["dtype"] = str(self.dtype).removeprefix("torch.")
        if self.untied:
            config["tie_word_embeddings"] = False
        return config

    def _dtype(self, stored: StoredTensor) -> torch.dtype:
        return self.dtype if self.dtype is not None and stored.dtype in FLOATS else DTYPES[stored.dtype]


def open_merge(base: Path, folders: Sequence[Path], dtype: str, device: str) -> Merging:
    """The merge of the adapters in `folders` into the model in `base`; `dtype` is auto or a name of torch.

    Raises NotStreamable when only peft can do it, TaskError and BadArtifact when it cannot be done.
    """
    config = read_config(base)
    if config.get("quantization_config"):
        kind = config["quantization_config"].get("quant_method", "quantized")
        raise TaskError(
            "model",
            f"The weights in {base} are quantized already ({kind}), so they can be neither merged nor converted.",
            "Name the full-precision model that they were made from.",
        )
    tensors = model_tensors(base)
    adapters = tuple(read_adapter(folder) for folder in folders)
    untied = _untied(config, tensors, adapters)
    known = set(tensors) | ({f"{OUTPUT_EMBEDDING}.weight"} if untied else set[str]())
    for adapter in adapters:
        _check_names(adapter, known, base)
    return Merging(tensors, adapters, None if dtype == "auto" else getattr(torch, dtype), device, config, untied)


def _untied(config: Mapping[str, Any], tensors: Mapping[str, StoredTensor], adapters: Sequence[Adapter]) -> str:
    """The input embedding's module when one tensor served both ends and an adapter touches one of them, else ""."""
    if not config.get("tie_word_embeddings", True) or f"{OUTPUT_EMBEDDING}.weight" in tensors:
        return ""
    embedding = next((name for name in INPUT_EMBEDDINGS if f"{name}.weight" in tensors), "")
    touching = [adapter for adapter in adapters if adapter.touches(embedding) or adapter.touches(OUTPUT_EMBEDDING)]
    if not touching:
        return ""
    if not embedding or any(adapter.settings.get("ensure_weight_tying") for adapter in touching):
        raise NotStreamable("it changes an embedding that serves both ends of the model")
    return embedding


def _check_names(adapter: Adapter, known: set[str], base: Path) -> None:
    """Raise NotStreamable when the model calls modules otherwise than its files, TaskError when they are another's."""
    wanted = {f"{module}.weight" for module in adapter.modules} | set(adapter.whole)
    strange = sorted(wanted - known)
    if not strange:
        return
    module = strange[0].rpartition(".")[0]
    if module in _modules_of(base):
        raise NotStreamable(f"the model's files keep {module} under another name")
    raise TaskError(
        "adapter",
        f"The adapter in {adapter.folder} does not fit this base model: the model has no {module}.",
        "Choose the base model that the adapter was trained on.",
    )


def _modules_of(base: Path) -> set[str]:
    """The names of the modules of a model that is built without weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
    return {name for name, _ in model.named_modules()}


def merge_with_peft(subject: Subject, target: Path, dtype: str, device: str) -> None:
    """Merge by peft itself, whole model in memory, for adapters that `open_merge` does not know.

    `target` becomes a model folder of one file. Raises TaskError when an adapter does not fit.
    """
    from transformers import AutoModelForCausalLM

    place = {"": 0} if device == "cuda" else None
    wanted = dtype if dtype == "auto" else getattr(torch, dtype)
    model: Any = AutoModelForCausalLM.from_pretrained(
        subject.base_folder, dtype=wanted, use_safetensors=True, device_map=place
    )
    try:
        for folder in subject.adapters:
            model = load(model, folder).merge_and_unload(safe_merge=False)
    except Unfit:
        raise
    except (RuntimeError, ValueError, AttributeError) as error:
        raise TaskError(
            "adapter",
            f"peft cannot merge the adapter: {' '.join(str(error).split())[:300]}",
            "Adapters without weights of their own, such as prompts and prefixes, can only be exported as they are: "
            "format.type=adapter.",
        ) from error
    model.save_pretrained(target, max_shard_size="1000GB")
