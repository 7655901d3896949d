"""What an export will take, before it starts: bytes on the disk, bytes of memory, and whether there is room."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from studio.config.export import Adapter, Bitsandbytes, ExportConfig, Format, Gguf, Gptq, Merged
from studio.config.workspace import OutsideWorkspace, Workspace
from studio.runs.adapters import adapter_kind, is_soft_prompt
from studio.runs.artifacts import FLOATS, ITEM_BYTES, StoredTensor, model_tensors, read_header
from studio.runs.errors import DiskFull, RunError
from studio.runs.export_subject import ADAPTER_WEIGHTS, Subject, resolve

PROCESS_BYTES = 280 * 2**20
"""Main memory of the process itself with PyTorch loaded; measured, see bench/results/export.md."""

LIBRARIES_BYTES = 350 * 2**20
"""What transformers and peft take on top of it."""

BESIDE_BYTES = 32 * 2**20
"""Tokenizer, config, card and results."""

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block|layer)\.\d+\..*weight$")
_ITEM = {"bfloat16": 2, "float16": 2, "float32": 4}

# Bytes a number, scales included: 32 weights share a scale of 2 bytes, in the _1 types also a minimum of 2 bytes.
_GGUF_BITS = {
    "f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5, "q5_1": 6.0, "q5_0": 5.5, "q4_1": 5.0, "q4_0": 4.5,
    "q6_k": 6.6, "q5_k_m": 5.7, "q5_k_s": 5.6, "q4_k_m": 4.9, "q4_k_s": 4.7, "q3_k_l": 4.3, "q3_k_m": 4.0,
    "q3_k_s": 3.6, "q2_k": 3.4,
}  # fmt: skip


class DestinationTaken(RunError):
    """The folder is there already and nobody said that it may be overwritten."""


class NothingToMerge(RunError):
    """The adapter stands in front of the input, so no weight can hold it."""


class GroupsDoNotFit(RunError):
    """The weights of a row cannot be cut into groups of the size that was asked for."""


@dataclass(frozen=True)
class ExportPlan:
    """Bytes: `size` of the export, `scratch` needed beside it on the way, `memory` at the peak, `free` on the disk.

    Sizes are None as long as the model is on a hub. `verify_memory` is what the comparison takes: one model at a time.
    """

    destination: Path
    size: int | None
    scratch: int | None
    memory: int | None
    verify_memory: int | None
    free: int

    @property
    def needed(self) -> int | None:
        """Free bytes without which it does not start."""
        return None if self.size is None or self.scratch is None else self.size + self.scratch + BESIDE_BYTES


def plan(workspace: Workspace, config: ExportConfig, name: str) -> ExportPlan:
    """What the export `name` will take. Changes nothing.

    Raises BadArtifact for a broken subject, DestinationTaken, OutsideWorkspace.
    """
    return plan_for(workspace, config, name, resolve(workspace, config.subject))


def plan_for(workspace: Workspace, config: ExportConfig, name: str, subject: Subject) -> ExportPlan:
    """The same for a subject that is known already."""
    place = destination(workspace, config, name)
    free = shutil.disk_usage(_nearest(place)).free
    if subject.base_folder is None:
        return ExportPlan(place, None, None, None, None, free)
    if isinstance(config.format, Adapter):
        size = sum(entry.stat().st_size for entry in subject.adapters[-1].iterdir() if entry.is_file())
        return ExportPlan(place, size, 0, PROCESS_BYTES, None, free)
    tensors = list(model_tensors(subject.base_folder).values())
    size, scratch = _sizes(config.format, tensors)
    merging = PROCESS_BYTES + _one_at_a_time(tensors, _touched(subject), _untouched(config.format))
    whole = sum(tensor.elements for tensor in tensors) * (4 if isinstance(config.format, Gguf) else 2)
    loaded = PROCESS_BYTES + LIBRARIES_BYTES + whole
    # What is no LoRA is merged with the whole model in memory, and so are weights that are quantized anew.
    streamed = all(adapter_kind(folder) == "LORA" for folder in subject.adapters)
    whole_model = isinstance(config.format, Gptq | Bitsandbytes) or not streamed
    memory = max(merging, loaded) if whole_model else merging
    return ExportPlan(place, size, scratch, memory, loaded if config.verification.compare else None, free)


def check_merges(target: Format, subject: Subject) -> None:
    """Raise NothingToMerge for a format that holds weights alone, where an adapter is none of the weights."""
    if isinstance(target, Adapter):
        return
    for folder in subject.adapters:
        if is_soft_prompt(folder):
            kind = adapter_kind(folder).replace("_", " ").lower()
            raise NothingToMerge(
                f"The adapter in {folder} ({kind}) stands in front of the input and changes no weight, so it can "
                "neither be merged nor converted. Choose format.type=adapter, which keeps it beside its base model."
            )


def check_groups(target: Format, tensors: Iterable[StoredTensor]) -> None:
    """Raise GroupsDoNotFit where a layer's rows are no multiple of the group: the kernels of GPTQ refuse such layers,
    and that only after the minutes of quantizing."""
    if not isinstance(target, Gptq) or target.group_size == "-1":
        return
    widths = {tensor.shape[1] for tensor in tensors if len(tensor.shape) == 2 and _LAYER.search(tensor.name)}
    wrong = sorted(width for width in widths if width % int(target.group_size))
    if wrong:
        fitting = next((size for size in ("64", "32") if not any(width % int(size) for width in widths)), "-1")
        raise GroupsDoNotFit(
            f"Groups of {target.group_size} weights do not fit this model: it has layers with rows of "
            f"{', '.join(map(str, wrong))}. Set format.group_size={fitting}."
        )


def _touched(subject: Subject) -> set[str]:
    """The modules of the base model that an adapter changes."""
    keys = {key for folder in subject.adapters for key in read_header(folder / ADAPTER_WEIGHTS)[0]}
    return {key.removeprefix("base_model.model.").partition(".lora_")[0] for key in keys}


def _one_at_a_time(tensors: list[StoredTensor], touched: set[str], untouched: int) -> int:
    """The most bytes that one tensor takes on its way: as stored, and what its change or its new format needs.

    A changed one has its delta and sums in float32; `untouched` are bytes for each number of the others.
    """
    return max(
        (
            tensor.nbytes + tensor.elements * (12 if tensor.name.rpartition(".")[0] in touched else untouched)
            for tensor in tensors
        ),
        default=0,
    )


def _untouched(target: Format) -> int:
    """Bytes that a number needs on the way which no adapter changes: none where it is copied as it is."""
    if isinstance(target, Gguf):
        return 10
    return 0 if isinstance(target, Merged) and target.dtype == "auto" else 4


def check_room(todo: ExportPlan) -> None:
    """Raise DiskFull with the numbers when the export does not fit on the disk."""
    if todo.needed is not None and todo.needed > todo.free:
        raise DiskFull(
            f"The export needs {_mib(todo.needed)} on the disk of {todo.destination.parent}, and {_mib(todo.free)} are "
            "free. Free some space, choose another destination.folder, or a smaller format."
        )


def destination(workspace: Workspace, config: ExportConfig, name: str) -> Path:
    """Where the export will lie. Raises DestinationTaken, OutsideWorkspace."""
    text = config.destination.folder or f"exports/{name}"
    place = workspace.resolve(text)
    if place == workspace.root or workspace.root.is_relative_to(place) or place in _rooms(workspace):
        raise OutsideWorkspace(f"{text!r} is a folder of the workspace itself. Name a new folder inside exports/.")
    if place.exists() and not config.destination.overwrite:
        raise DestinationTaken(
            f"{place} exists already. Choose another destination.folder, or set destination.overwrite=true: the old "
            "one is then removed when the new one stands."
        )
    return place


def _rooms(workspace: Workspace) -> tuple[Path, ...]:
    return (workspace.saves, workspace.data, workspace.models, workspace.exports, workspace.engines, workspace.cache)


def _nearest(place: Path) -> Path:
    """The folder that exists, for the disk on which `place` will lie."""
    while not place.is_dir():
        place = place.parent
    return place


def _sizes(target: Format, tensors: list[StoredTensor]) -> tuple[int, int]:
    """Bytes of the export and of what lies beside it on the way; matrices alone are quantized."""
    whole = sum(_bytes(tensor, "auto") for tensor in tensors)
    matrices = sum(tensor.elements for tensor in tensors if len(tensor.shape) > 1)
    rest = sum(_bytes(tensor, "float32") for tensor in tensors if len(tensor.shape) < 2)
    if isinstance(target, Merged):
        return sum(_bytes(tensor, target.dtype) for tensor in tensors), 0
    if isinstance(target, Gguf):
        size = int(matrices * _GGUF_BITS[target.quantization] / 8) + rest
        return size, matrices * 2 + rest if "_k" in target.quantization else 0
    embeddings = max((_bytes(tensor, "auto") for tensor in tensors), default=0)
    bits = int(target.bits) if isinstance(target, Gptq | Bitsandbytes) else 16
    return embeddings + int(matrices * (bits + 0.6) / 8) + rest, whole


def _bytes(tensor: StoredTensor, dtype: str) -> int:
    if dtype == "auto" or tensor.dtype not in FLOATS:
        return tensor.nbytes
    return tensor.nbytes // ITEM_BYTES[tensor.dtype] * _ITEM[dtype]


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
