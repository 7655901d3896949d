"""The rows that an evaluation writes as it goes, so that a killed job goes on at the row where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from studio.config.evaluate import EvaluateConfig
from studio.runs.atomic import read_json, write_json
from studio.runs.evaluation_results import JUDGEMENTS, LOSSES, PREDICTIONS, read_rows
from studio.runs.metrics import append_row, open_rows

STAMP = "evaluation.json"

Key = tuple[Any, ...]


@dataclass
class Ledger:
    """One file of rows, each with a key of its own; what stands in it already is not done again."""

    path: Path
    keys: Sequence[str] = ("candidate", "dataset", "row")

    def __post_init__(self) -> None:
        rows, _ = read_rows(self.path)
        self.done: set[Key] = {self.key_of(row) for row in rows}
        self._file: TextIO | None = None

    def key_of(self, row: Mapping[str, Any]) -> Key:
        """What tells this row from others."""
        return tuple(row.get(key) for key in self.keys)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row and hand it to the system at once. Raises OSError."""
        if self._file is None:
            self._file = open_rows(self.path)
        append_row(self._file, row)
        self.done.add(self.key_of(row))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def begin(folder: Path, config: EvaluateConfig, data: str, weights: Mapping[str, str]) -> bool:
    """Whether rows of an earlier attempt still hold. Where they do not they are put aside, never mixed with others:
    predictions.jsonl becomes predictions.1.jsonl. `data` and `weights` (of each candidate) tell contents from others.

    Raises OSError.
    """
    decoding = config.decoding.model_dump(exclude={"batch_size", "generate"})
    base = [config.model.model_dump(), config.quantization.model_dump(), config.candidates.merged]
    asked = [*base, config.questions.context, data]
    stamp: dict[str, Any] = {
        PREDICTIONS: _digest(asked, decoding),
        LOSSES: _digest(asked),
        JUDGEMENTS: _digest(asked, decoding, config.judge.model_dump(exclude={"max_rows", "concurrency"})),
    }
    found = read_json(folder / STAMP)
    old: dict[str, Any] = found if isinstance(found, dict) else {}
    before = old.get("weights") or {}
    changed = any(before.get(name, value) != value for name, value in weights.items())
    stale = [folder / name for name, digest in stamp.items() if changed or old.get(name) != digest]
    for file in (stale := [file for file in stale if file.exists()]):
        _put_aside(file)
    write_json(folder / STAMP, {**stamp, "weights": {**before, **weights}})
    return not stale


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _put_aside(file: Path) -> None:
    number = 1
    while (kept := file.with_name(f"{file.stem}.{number}{file.suffix}")).exists():
        number += 1
    file.rename(kept)
