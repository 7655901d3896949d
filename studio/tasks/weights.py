"""Look at a model folder before loading it: is it one, are its weights safetensors, is every file whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from studio.tasks.failures import TaskError

HEADER_LENGTH_BYTES = 8
MOST_HEADER_BYTES = 100_000_000  # the limit of the safetensors library itself


def check_weights(folder: Path) -> None:
    """Raise TaskError when `folder` is no model, holds only pickled weights, or a weight file is not whole.

    A safetensors file says in its header how long it must be, so a broken download is found without reading it.
    """
    if not (folder / "config.json").is_file():
        raise TaskError(
            "model",
            f"{folder} holds no config.json, so it is no model.",
            "Choose the folder that holds it. A LoRA adapter goes into model.adapters, with its base model here.",
        )
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickled = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]
        if pickled:
            raise TaskError(
                "model",
                f"{folder} holds its weights only as pickle ({pickled[0].name}), which can run code when it is read.",
                "Get the model as safetensors.",
            )
        raise TaskError("model", f"{folder} holds no weights (*.safetensors).", "Download the model again.")
    for file in [*files, *_shards(folder)]:
        check_file(file)


def check_file(file: Path) -> None:
    """Raise TaskError when a safetensors file is missing, damaged or of another length than its header says."""
    again = "Download or copy it again."
    if not file.is_file():
        raise TaskError("model", f"The weight file {file} is missing.", again)
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(HEADER_LENGTH_BYTES), "little")
        if not 2 <= length <= min(MOST_HEADER_BYTES, size):
            raise TaskError("model", f"The weight file {file} is damaged: it has no valid header.", again)
        header = _json(stream.read(length))
    if header is None:
        raise TaskError("model", f"The weight file {file} is damaged: its header is no JSON.", again)
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    wanted = HEADER_LENGTH_BYTES + length + max(ends, default=0)
    if size != wanted:
        raise TaskError("model", f"The weight file {file} is damaged: it has {size:,} of {wanted:,} bytes.", again)


def _shards(folder: Path) -> list[Path]:
    """The files that the index of a sharded model names."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    tree = _json(index.read_bytes()) or {}
    return [folder / name for name in sorted(set(tree.get("weight_map", {}).values()))]


def _json(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
