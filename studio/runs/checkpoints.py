"""The checkpoints of a run and whether each is whole: a half-written one must never be resumed from.

Only headers and tables of contents are read, so a checkpoint of many gigabytes is checked in milliseconds.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from studio.runs.atomic import read_json
from studio.runs.folder import RunFolder
from studio.runs.records import Fields

ABANDONED = "abandoned"
LONGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors format
_NAME = re.compile(r"checkpoint-(\d+)")


class Unsound(ValueError):
    """Why a checkpoint cannot be resumed from."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint folder. `reason` says why it is not complete; size in bytes, time in seconds since the epoch."""

    step: int
    path: Path
    complete: bool
    reason: str
    size: int
    time: float

    @property
    def name(self) -> str:
        """The folder's name, as job.json's resume_from has it."""
        return self.path.name


def checkpoints(folder: RunFolder) -> list[Checkpoint]:
    """All checkpoints of the run, the oldest step first."""
    try:
        entries = list(folder.path.iterdir())
    except FileNotFoundError:
        return []
    found = [(int(match[1]), entry) for entry in entries if (match := _NAME.fullmatch(entry.name)) and entry.is_dir()]
    return [_look(step, path) for step, path in sorted(found)]


def newest_complete(folder: RunFolder) -> Checkpoint | None:
    """The complete checkpoint of the highest step."""
    return next((entry for entry in reversed(checkpoints(folder)) if entry.complete), None)


def set_aside(folder: RunFolder, after_step: int, attempt: int) -> None:
    """Move checkpoints beyond `after_step` to abandoned/attempt-N, before `attempt` N goes on from that step.

    They belong to a course that the run no longer takes; left in place, a later resume would mix the two.
    Raises OSError.
    """
    for entry in checkpoints(folder):
        if entry.step > after_step:
            target = folder.path / ABANDONED / f"attempt-{attempt}" / entry.name
            target.parent.mkdir(parents=True, exist_ok=True)
            entry.path.rename(target)


def _look(step: int, path: Path) -> Checkpoint:
    try:
        _check(path)
        reason = ""
    except Unsound as problem:
        reason = str(problem)
    except OSError as error:
        reason = f"{error.filename or path.name} cannot be read: {error.strerror}"
    try:
        time = path.stat().st_mtime
    except OSError:
        time = 0.0
    return Checkpoint(step, path, not reason, reason, RunFolder(path).size_bytes(), time)


def _check(path: Path) -> None:
    """Raise Unsound for the first thing that is missing or cut."""
    if (path / "checkpoint-is-incomplete.txt").exists():
        raise Unsound("the trainer has marked it as incomplete")
    _check_state(path / "trainer_state.json")
    names = {entry.name for entry in path.iterdir()}
    distributed = any(name.startswith(("global_step", "pytorch_model_fsdp", "optimizer_")) for name in names)
    weights = [name for name in names if name.endswith(".safetensors")]
    if not weights and not distributed:
        raise Unsound("it holds no weights (*.safetensors)")
    for name in sorted(weights):
        _check_safetensors(path / name)
    for name in sorted(name for name in names if name.endswith(".safetensors.index.json")):
        _check_index(path / name, names)
    if not distributed and "optimizer.pt" not in names:
        raise Unsound("optimizer.pt is missing: it holds weights only and training cannot go on from them")
    for name in sorted(names):
        if name in {"optimizer.pt", "scheduler.pt"} or (name.startswith("rng_state") and name.endswith(".pth")):
            _check_zip(path / name)


def _check_state(file: Path) -> None:
    if not file.exists():
        raise Unsound(f"{file.name} is missing: it was cut off while being written")
    if Fields(read_json(file)).number("global_step") is None:
        raise Unsound(f"{file.name} is cut off or damaged")


def _check_safetensors(file: Path) -> None:
    """8 bytes of header length (little-endian), the header in JSON, then exactly the bytes that it declares."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else LONGEST_HEADER + 1
        if length > min(LONGEST_HEADER, size - 8):
            raise Unsound(f"{file.name} is cut off in its header")
        try:
            header = json.loads(stream.read(length))
        except (ValueError, RecursionError) as error:
            raise Unsound(f"{file.name} has a damaged header") from error
    declared = 8 + length + _data_bytes(header, file.name)
    if declared != size:
        raise Unsound(f"{file.name} has {size:,} bytes and should have {declared:,}")


def _data_bytes(header: object, name: str) -> int:
    """The end of the last tensor, counted from the end of the header."""
    if not isinstance(header, dict):
        raise Unsound(f"{name} has a damaged header")
    end = 0
    for key, entry in cast("dict[str, object]", header).items():
        if key != "__metadata__":
            offsets = cast("dict[str, Any]", entry).get("data_offsets") if isinstance(entry, dict) else None
            if not isinstance(offsets, list) or [type(value) for value in cast("list[Any]", offsets)] != [int, int]:
                raise Unsound(f"{name} has a damaged header at the tensor {key}")
            end = max(end, *cast("list[int]", offsets))
    return end


def _check_index(file: Path, names: set[str]) -> None:
    shards = {str(value) for value in Fields(read_json(file)).mapping("weight_map").values()}
    if not shards:
        raise Unsound(f"{file.name} is cut off or damaged")
    missing = sorted(shards - names)
    if missing:
        raise Unsound(f"{missing[0]} is missing, which {file.name} names")


def _check_zip(file: Path) -> None:
    """torch.save writes a zip archive, whose table of contents comes last: where it is sound, nothing is cut off."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise Unsound(f"{file.name} is cut off or damaged") from error
    size = file.stat().st_size
    if not entries or any(entry.header_offset + entry.compress_size > size for entry in entries):
        raise Unsound(f"{file.name} is cut off or damaged")
