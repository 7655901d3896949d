"""What a GGUF file says before its weights: settings and places of tensors, read without mapping the file.

The package's own reader maps the whole file and makes several objects of each token: hundreds of megabytes and seconds
for what is wanted here. The layout is that of version 3: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import gguf

MAGIC, VERSION, ALIGNMENT = b"GGUF", 3, 32

Kind = gguf.GGUFValueType

_FORMATS: Mapping[Kind, str] = {
    Kind.UINT8: "B", Kind.INT8: "b", Kind.UINT16: "H", Kind.INT16: "h", Kind.UINT32: "I", Kind.INT32: "i",
    Kind.FLOAT32: "f", Kind.BOOL: "?", Kind.UINT64: "Q", Kind.INT64: "q", Kind.FLOAT64: "d",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """One tensor: its shape as numpy has it (rows first), its type, where it begins in the file and its bytes."""

    shape: tuple[int, ...]
    kind: gguf.GGMLQuantizationType
    start: int
    nbytes: int


def read_gguf_header(path: Path) -> tuple[dict[str, Any], dict[str, Place]]:
    """Settings by key and tensors by name. Raises ValueError for a file that is none or is cut off."""
    with path.open("rb") as stream:
        if stream.read(4) != MAGIC or _number(stream, "I") != VERSION:
            raise ValueError(f"{path.name} is no GGUF file of version {VERSION}")
        tensors, keys = _number(stream, "Q"), _number(stream, "Q")
        settings = {_text(stream): _value(stream, Kind(_number(stream, "I"))) for _ in range(keys)}
        found: dict[str, tuple[tuple[int, ...], gguf.GGMLQuantizationType, int]] = {}
        for _ in range(tensors):
            name, sides = _text(stream), _number(stream, "I")
            shape = tuple(_number(stream, "Q") for _ in range(sides))[::-1]
            kind = gguf.GGMLQuantizationType(_number(stream, "I"))
            found[name] = (shape, kind, _number(stream, "Q"))
        begin = -(-stream.tell() // ALIGNMENT) * ALIGNMENT
    places = {
        name: Place(shape, kind, begin + offset, _bytes(shape, kind)) for name, (shape, kind, offset) in found.items()
    }
    end = max((place.start + place.nbytes for place in places.values()), default=begin)
    if path.stat().st_size < end:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} of {end:,} bytes")
    return settings, places


def _bytes(shape: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> int:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    count = 1
    for side in shape:
        count *= side
    return count // block * size


def _number(stream: BinaryIO, code: str) -> Any:
    size = struct.calcsize(code)
    raw = stream.read(size)
    if len(raw) != size:
        raise ValueError("the GGUF file is cut off in its header")
    return struct.unpack(f"<{code}", raw)[0]


def _text(stream: BinaryIO) -> str:
    return stream.read(_number(stream, "Q")).decode()


def _value(stream: BinaryIO, kind: Kind) -> Any:
    if kind is Kind.STRING:
        return _text(stream)
    if kind is not Kind.ARRAY:
        return _number(stream, _FORMATS[kind])
    inner, count = Kind(_number(stream, "I")), _number(stream, "Q")
    read: Callable[[], Any] = (lambda: _text(stream)) if inner is Kind.STRING else (lambda: _value(stream, inner))
    return [read() for _ in range(count)]
