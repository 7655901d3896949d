"""From the name of a dataset to its Examples: finds the file, reads json, jsonl or txt, collects every broken row."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from studio.config.workspace import Workspace
from studio.data.examples import BadRow, DataError, Example
from studio.data.formats import read_row
from studio.data.registry import DatasetEntry, find_entry, load_registry, locate

NAMED_ROWS = 10  # broken rows that a message names; the rest is counted
SUFFIXES = (".json", ".jsonl", ".txt")


@dataclass
class Reading:
    """What was read: the examples, how many rows were broken, and the first of those."""

    examples: list[Example] = field(default_factory=list[Example])
    broken: int = 0
    named: list[BadRow] = field(default_factory=list[BadRow])

    def refuse(self, bad: BadRow) -> None:
        """Count a broken row, and keep it if it is among the first."""
        self.broken += 1
        if len(self.named) < NAMED_ROWS:
            self.named.append(bad)

    def explain(self) -> str:
        """All broken rows in words, one a line."""
        lines = [str(bad) for bad in self.named]
        if self.broken > len(lines):
            lines.append(f"and {self.broken - len(lines)} more broken rows")
        return "\n".join(lines)


def read_datasets(
    workspace: Workspace, names: list[str], *, max_samples: int | None = None, seed: int = 42, strict: bool = True
) -> Reading:
    """The examples of the named datasets one after another, at most `max_samples` (the first) of each.

    With `strict` a broken row raises DataError that names the first ten and counts all; without it they are left out
    and counted. Raises DataError for an unknown dataset, a missing file and a file that cannot be read.
    """
    registry, reading = load_registry(workspace), Reading()
    for name in names:
        entry = find_entry(registry, name)
        part = read_entry_file(workspace, entry)
        for bad in part.named:
            reading.refuse(bad)
        reading.broken += part.broken - len(part.named)
        chosen = _sampled(part.examples, entry.num_samples, seed)
        reading.examples += chosen[:max_samples]
    if strict and reading.broken:
        raise DataError(f"{_rows(reading.broken)} cannot be used.\n{reading.explain()}\nCorrect or remove them.")
    return reading


def read_entry_file(workspace: Workspace, entry: DatasetEntry) -> Reading:
    """Every row of one dataset. Raises DataError when the file as a whole cannot be read or holds no row."""
    path = locate(workspace, entry)
    source = path.relative_to(workspace.root).as_posix() if path.is_relative_to(workspace.root) else str(path)
    reading = Reading()
    for number, row in rows_of(path, source):
        if isinstance(row, BadRow):
            reading.refuse(row)
            continue
        try:
            reading.examples.append(_example(row, path, entry, source, number))
        except DataError as error:
            reading.refuse(BadRow(source, number, str(error)))
    if not reading.examples and not reading.broken:
        raise DataError(f"{source} holds no rows. Fill it, or choose another dataset.")
    return reading


def rows_of(path: Path, source: str) -> Iterator[tuple[int, Any]]:
    """Number and raw value of each row; a line that is no JSON comes as a BadRow. Numbers start at 1.

    Raises DataError for a file type that cannot be read and for a .json file that is no list.
    """
    if path.suffix == ".txt":
        yield from ((number, line) for number, line in _lines(path, source) if line.strip())
    elif path.suffix == ".jsonl":
        for number, line in _lines(path, source):
            if line.strip():
                yield number, _line_value(line, source, number)
    elif path.suffix == ".json":
        yield from enumerate(_array(path, source), start=1)
    else:
        raise DataError(
            f"{source} cannot be read: {path.suffix or 'no ending'} is not supported so far, only "
            f"{', '.join(SUFFIXES)}. Convert it to one of them."
        )


def _example(row: Any, path: Path, entry: DatasetEntry, source: str, number: int) -> Example:
    if path.suffix == ".txt":
        return Example(source, number, text=row)
    return read_row(row, entry, source, number)


def _lines(path: Path, source: str) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None


def _line_value(line: str, source: str, number: int) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        return BadRow(source, number, f"it is not valid JSON: {error.msg} at column {error.colno}.")


def _array(path: Path, source: str) -> list[Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise DataError(f"{source} holds one object a line. Rename it to {path.stem}.jsonl.") from None
        raise DataError(
            f"{source} is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    if not isinstance(value, list):
        raise DataError(f"{source} must hold a list of rows, but holds a {type(value).__name__}.")
    return cast("list[Any]", value)


def _sampled(examples: list[Example], count: int | None, seed: int) -> list[Example]:
    """`count` examples drawn by `seed`; more than there are are drawn by repeating them, as LLaMA-Factory does."""
    if count is None or not examples:
        return examples
    draw = random.Random(seed)
    whole, rest = divmod(count, len(examples))
    return examples * whole + draw.sample(examples, rest)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
