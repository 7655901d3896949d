"""Safetensors files written tensor by tensor: the header is known before the first weight is computed."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from studio.runs.atomic import write_json
from studio.tasks.exporting.tensors import CODES
from studio.tasks.failures import TaskError

Load = Callable[[str], torch.Tensor]
Progress = Callable[[int, int], None]

GIGABYTE = 1_000_000_000


@dataclass(frozen=True)
class Output:
    """A tensor that will be written: its name, format and shape."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Its length in the file."""
        count = 1
        for side in self.shape:
            count *= side
        return count * self.dtype.itemsize


def plan_shards(outputs: Sequence[Output], most: int) -> list[list[Output]]:
    """The outputs in order, in as few files as hold at most `most` bytes each; one tensor may be larger alone."""
    shards: list[list[Output]] = [[]]
    size = 0
    for output in outputs:
        if shards[-1] and size + output.nbytes > most:
            shards.append([])
            size = 0
        shards[-1].append(output)
        size += output.nbytes
    return shards


def write_model(
    folder: Path, outputs: Sequence[Output], load: Load, shard_bytes: int, progress: Progress
) -> list[Path]:
    """Write all outputs as model.safetensors, or as shards with their index; `progress` gets bytes done and in all.

    `load` is called once for each name; one tensor is held at a time. Raises OSError, and TaskError when `load` gives
    something else than the plan says.
    """
    shards = plan_shards(outputs, shard_bytes)
    total, done = sum(output.nbytes for output in outputs), 0
    weight_map: dict[str, str] = {}
    files: list[Path] = []
    for number, shard in enumerate(shards, 1):
        name = "model.safetensors" if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        base = done

        def within(count: int, base: int = base) -> None:
            progress(base + count, total)

        write_file(folder / name, shard, load, within)
        done += sum(output.nbytes for output in shard)
        weight_map |= {output.name: name for output in shard}
        files.append(folder / name)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        write_json(folder / "model.safetensors.index.json", index)
    return files


def write_file(path: Path, outputs: Sequence[Output], load: Load, progress: Callable[[int], None]) -> None:
    """Write one safetensors file; `progress` gets the bytes written of it. Raises as `write_model`."""
    # Wide formats first: then every tensor begins at a multiple of its item's size, as the format wants.
    ordered = sorted(outputs, key=lambda output: -output.dtype.itemsize)
    header, place = dict[str, object](), 0
    for output in ordered:
        offsets = [place, place + output.nbytes]
        header[output.name] = {"dtype": CODES[output.dtype], "shape": list(output.shape), "data_offsets": offsets}
        place += output.nbytes
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    done = 0
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for output in ordered:
            tensor = load(output.name)
            if tensor.dtype != output.dtype or tuple(tensor.shape) != output.shape:
                raise TaskError(
                    "model",
                    f"{output.name} became {tuple(tensor.shape)} in {tensor.dtype} instead of {output.shape} in "
                    f"{output.dtype}.",
                )
            stream.write(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
            del tensor
            done += output.nbytes
            progress(done)
        stream.flush()
        os.fsync(stream.fileno())
