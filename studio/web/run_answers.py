"""Answers that a run wrote while it learnt from their points: its file read in pieces, the newest first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

PIECE_BYTES = 128 * 1024
"""What one answer to the page reads of the file at most; far more than its longest row."""


def newest(file: Path, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Rows that the page lacks; None where it has all that it asked for, or there is no file.

    The page says which bytes of which file it has (`file`, `from`, `to`), and with `earlier` that it wants the piece
    before them. The answer holds `rows` in the order of the file and the bytes that they fill; `anew` says that they
    take the place of what the page has, because it has nothing yet or the file is another one, and `more` that there
    is more behind them. Raises OSError for an unreadable file.
    """
    try:
        state = file.stat()
    except FileNotFoundError:
        return None
    number, size = str(state.st_ino), state.st_size
    start, end = request.get("from"), request.get("to")
    known = request.get("file") == number and isinstance(start, int) and isinstance(end, int) and end <= size
    if not known:
        return {**_before(file, size), "file": number, "anew": True}
    if request.get("earlier") and start:
        return {**_before(file, cast("int", start)), "file": number, "anew": False}
    return _behind(file, cast("int", end), number) if cast("int", end) < size else None


def _before(file: Path, end: int) -> dict[str, Any]:
    """The whole rows at the end of the first `end` bytes."""
    start = max(0, end - PIECE_BYTES)
    chunk = _read(file, start, end)
    if start:  # the piece begins in the midst of a row
        start += chunk.find(b"\n") + 1
        chunk = chunk[chunk.find(b"\n") + 1 :]
    whole = chunk.rfind(b"\n") + 1
    return {"rows": _rows(chunk[:whole]), "from": start, "to": start + whole}


def _behind(file: Path, start: int, number: str) -> dict[str, Any] | None:
    """The whole rows behind `start`; the last one may still be half-written and is read again when it is whole."""
    chunk = _read(file, start, start + PIECE_BYTES)
    whole = chunk.rfind(b"\n") + 1
    if not whole:
        return None
    found = {"rows": _rows(chunk[:whole]), "from": start, "to": start + whole, "file": number, "anew": False}
    return {**found, "more": len(chunk) == PIECE_BYTES}


def _read(file: Path, start: int, end: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(start)
        return stream.read(end - start)


def _rows(lines: bytes) -> list[dict[str, Any]]:
    """Rows as the page shows them; a line that holds none, after a crash say, is left out."""
    found: list[dict[str, Any]] = []
    for line in lines.splitlines():
        try:
            row: object = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(cast("dict[str, Any]", row).get("step"), int):
            found.append(cast("dict[str, Any]", row))
    return found
