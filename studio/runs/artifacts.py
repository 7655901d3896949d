"""What lies in a folder of weights: names, formats, shapes and places of all tensors, from the headers alone."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from studio.runs.atomic import read_json
from studio.runs.errors import RunError
from studio.runs.records import Fields

LONGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors format

ITEM_BYTES: Mapping[str, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes of one number in each format of safetensors that models are stored in."""

FLOATS = frozenset({"F16", "BF16", "F32", "F64"})
"""Formats that can be turned into each other; 8-bit floats need the scales that their model stores beside them."""


class BadArtifact(RunError):
    """A folder of weights that is not what it should be: the text names the file, and the way out."""


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in a safetensors file: `start` counts bytes from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    nbytes: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return self.nbytes // ITEM_BYTES[self.dtype]


def read_header(file: Path) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """The tensors of one safetensors file in the order in which they lie, and its own notes.

    Raises BadArtifact when the file is missing, cut off or damaged.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else LONGEST_HEADER + 1
            if length > min(LONGEST_HEADER, size - 8):
                raise BadArtifact(f"{file} is cut off in its header. Copy or download it again.")
            header = json.loads(stream.read(length))
    except FileNotFoundError:
        raise BadArtifact(f"The weight file {file} is missing. Copy or download it again.") from None
    except (ValueError, RecursionError):
        raise BadArtifact(f"{file} has a damaged header. Copy or download it again.") from None
    entries = cast("dict[str, Any]", header) if isinstance(header, dict) else {}
    notes = entries.pop("__metadata__", {})
    try:
        found = [_entry(file, 8 + length, name, entry) for name, entry in entries.items()]
    except (KeyError, TypeError, ValueError):
        raise BadArtifact(f"{file} has a damaged header. Copy or download it again.") from None
    found.sort(key=lambda tensor: tensor.start)
    declared = max((tensor.start + tensor.nbytes for tensor in found), default=8 + length)
    if declared != size:
        raise BadArtifact(f"{file} has {size:,} of {declared:,} bytes. Copy or download it again.")
    return {tensor.name: tensor for tensor in found}, notes


def _entry(file: Path, offset: int, name: str, entry: Any) -> StoredTensor:
    begin, end = entry["data_offsets"]
    tensor = StoredTensor(name, str(entry["dtype"]), tuple(map(int, entry["shape"])), file, offset + begin, end - begin)
    count = 1
    for side in tensor.shape:
        count *= side
    if tensor.dtype in ITEM_BYTES and count * ITEM_BYTES[tensor.dtype] != tensor.nbytes:
        raise ValueError(name)
    return tensor


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a model's folder: those that its index names, else the single one. Raises BadArtifact."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = {str(name) for name in Fields(read_json(index)).mapping("weight_map").values()}
        if not names or any("/" in name for name in names):
            raise BadArtifact(f"{index} is damaged. Copy or download it again.")
        return [folder / name for name in sorted(names)]
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1 and (folder / "model.safetensors").is_file():
        files = [folder / "model.safetensors"]
    if not files:
        raise BadArtifact(f"{folder} holds no weights (*.safetensors). Choose a folder with a model.")
    return files


def model_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a model's folder by name, in the order in which they lie. Raises BadArtifact."""
    found: dict[str, StoredTensor] = {}
    for file in weight_files(folder):
        found |= read_header(file)[0]
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model. Raises BadArtifact when the folder holds none or a damaged one."""
    file = folder / "config.json"
    if not file.is_file():
        raise BadArtifact(f"{folder} holds no config.json, so it is no model. An adapter goes into subject.adapters.")
    value = read_json(file)
    if not isinstance(value, dict):
        raise BadArtifact(f"{file} is damaged. Copy or download it again.")
    return cast("dict[str, Any]", value)
