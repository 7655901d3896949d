"""metrics.jsonl: appending a row, and reading only what has come since the last look.

A row is an object with `step` and the trainer's own keys. A row with `event` is something that happened:
`{"event": "resumed", "step": k}` says that rows beyond step k belong to a course that the run no longer takes.
Numbers that are not finite are written as the strings NaN, Infinity and -Infinity: JSON has no others.
"""

from __future__ import annotations

import json
import math
import os
import threading
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, cast

RESUMED = "resumed"
NON_FINITE = "non_finite"
_LARGEST = 2**63
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})


def open_rows(path: Path) -> TextIO:
    """Open the file for appending; a line that an earlier process left half-written is ended first. Raises OSError."""
    with path.open("ab+") as file:
        if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            file.write(b"\n")
    return path.open("a", encoding="utf-8")


def append_row(file: TextIO, row: Mapping[str, object]) -> None:
    """Write one row and hand it to the system at once, so that a killed process loses none. Raises OSError."""
    file.write(json.dumps({key: _writable(value) for key, value in row.items()}, ensure_ascii=False) + "\n")
    file.flush()


def _writable(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


@dataclass
class Series:
    """One key's points, as machine numbers: 16 bytes each."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.steps)

    def cut(self, after_step: int) -> None:
        """Drop the points at the end that lie beyond `after_step`."""
        keep = len(self.steps)
        while keep and self.steps[keep - 1] > after_step:
            keep -= 1
        del self.steps[keep:], self.values[keep:]


class MetricsLog:
    """A reader that keeps its place in the file. `poll` from any thread; what it shows changes only there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.version = 0
        """Grows with every poll that moved something."""
        self.course = 0
        """Grows when points already read are no longer true: the file was replaced, or the run was resumed."""
        self._lock = threading.Lock()
        self._inode = 0
        self._begin()

    def _begin(self) -> None:
        self.series: dict[str, Series] = {}
        self.events: list[dict[str, Any]] = []
        self.last: dict[str, Any] = {}
        """The newest value of every key."""
        self.rows = 0
        self.corrupt = 0
        """Lines that hold no row."""
        self._offset = 0

    def poll(self) -> bool:
        """Read what is new; True when something moved. A last line without its end waits until it is whole.

        Starts over when the file was replaced or is shorter than before. Raises OSError for an unreadable file.
        """
        with self._lock:
            moved = self._poll()
            self.version += moved
            return moved

    def points(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values of one key, as lists of their own; empty for a key that has not appeared."""
        with self._lock:
            series = self.series.get(key)
            return (series.steps.tolist(), series.values.tolist()) if series else ([], [])

    def _poll(self) -> bool:
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return self._restart(0)
        moved = (state.st_ino != self._inode or state.st_size < self._offset) and self._restart(state.st_ino)
        if state.st_size == self._offset:
            return moved
        with self.path.open("rb") as file:
            file.seek(self._offset)
            chunk = file.read()
        end = chunk.rfind(b"\n") + 1
        for line in chunk[:end].splitlines():
            if line:
                self._take(line)
        self._offset += end
        return moved or end > 0

    def _restart(self, inode: int) -> bool:
        """Forget everything; whether there was something to forget."""
        self._inode = inode
        had_any = self._offset > 0
        if had_any:
            self.course += 1
            self._begin()
        return had_any

    def _take(self, line: bytes) -> None:
        try:
            value: object = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        row = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        step = row.get("step")
        if type(step) is not int or abs(step) >= _LARGEST:
            self.corrupt += 1
            return
        self.rows += 1
        if "event" in row:
            self._take_event(row)
        else:
            self._take_row(row)

    def _take_event(self, row: dict[str, Any]) -> None:
        if row["event"] == RESUMED:
            self.course += 1
            for series in self.series.values():
                series.cut(row["step"])
            self.events = [event for event in self.events if event["step"] <= row["step"]]
            self.last = {key: series.values[-1] for key, series in self.series.items() if series}
        self.events.append(row)

    def _take_row(self, row: dict[str, Any]) -> None:
        step: int = row["step"]
        for key, value in row.items():
            if isinstance(value, float) or (type(value) is int and key != "step"):
                if value - value == 0 and (type(value) is float or abs(value) < _LARGEST):
                    series = self.series.get(key)
                    if series is None:
                        series = self.series[key] = Series()
                    series.steps.append(step)
                    series.values.append(value)
                else:
                    self._not_finite(step, key, str(value))
            elif isinstance(value, str) and value in _NOT_FINITE:
                self._not_finite(step, key, value)
        self.last.update(row)

    def _not_finite(self, step: int, key: str, value: str) -> None:
        self.events.append({"event": NON_FINITE, "step": step, "key": key, "value": value})
