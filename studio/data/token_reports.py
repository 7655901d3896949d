"""Counts of a dataset's tokens for one model, template and masking, from which each cutoff's figures follow.

They are kept without a cutoff. For each row it is enough to know its length, and its need: the least cutoff at which
the row has anything to train on. Where the labels lie is kept as sums over all rows.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.data.files import files_of
from studio.data.registry import DatasetEntry, load_registry, locate

VERSION = 1  # of what is counted; another number and everything is counted anew
NAMED_ROWS = 20  # rows that a list names, such as the longest ones
NEVER = 0  # the need of a row that has nothing to train on at any cutoff
NUMBERS = "I"  # 4 bytes: places, lengths and needs


@dataclass
class TokenReport:
    """What was counted. `places` (from 0, in the file), `lengths` and `needs` hold one number for each usable row.

    `steps` says how the number of rows that train on a position changes there: at position 0 nothing is trained on.
    `bad` are the first rows that cannot be used, as place and reason; `refused` counts all of them.
    """

    name: str
    model: str
    template: str
    refused: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    steps: dict[int, int] = field(default_factory=dict[int, int])
    places: array[int] = field(default_factory=lambda: array(NUMBERS))
    lengths: array[int] = field(default_factory=lambda: array(NUMBERS))
    needs: array[int] = field(default_factory=lambda: array(NUMBERS))

    def add(self, place: int, trained: Sequence[bool]) -> None:
        """Count one row by which of its tokens are trained on; the first is taken as not, since nothing predicts it."""
        flags = [False, *trained[1:], False] if trained else []
        need, before = NEVER, False
        for position, flag in enumerate(flags):
            if flag != before:
                self.steps[position] = self.steps.get(position, 0) + (1 if flag else -1)
                need = need or position + 1
                before = flag
        self.places.append(place)
        self.lengths.append(len(trained))
        self.needs.append(need)

    def refuse(self, place: int, reason: str) -> None:
        """Count a row that cannot be used, and keep it if it is among the first."""
        self.refused += 1
        if len(self.bad) < NAMED_ROWS:
            self.bad.append((place, reason))

    def trained(self, cutoff: int | None = None) -> int:
        """Tokens that are trained on when all rows are cut at `cutoff`."""
        positions = sorted(self.steps)
        if not positions:
            return 0
        rows = accumulate(self.steps[position] for position in positions)
        ends = [*positions[1:], positions[-1]]
        limit = ends[-1] if cutoff is None else cutoff
        return sum(
            count * (min(end, limit) - start)
            for start, end, count in zip(positions, ends, rows, strict=True)
            if start < limit
        )

    def longest(self) -> list[tuple[int, int]]:
        """The longest rows as place and length, the longest first."""
        best = sorted(range(len(self.lengths)), key=lambda row: -self.lengths[row])[:NAMED_ROWS]
        return [(self.places[row], self.lengths[row]) for row in best]


@dataclass(frozen=True)
class Known:
    """What a list shows of a dataset: how many tokens its rows are, for which model."""

    tokens: int
    trained: int
    rows: int
    model: str


def folder(workspace: Workspace) -> Path:
    """Where reports are kept."""
    return workspace.cache / "token_reports"


def key_of(workspace: Workspace, entry: DatasetEntry, *seen: str) -> str:
    """The name of the report on a dataset as it is now; `seen` is all else that the counts depend on."""
    text = json.dumps([VERSION, facts_of(workspace, entry), *seen])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def facts_of(workspace: Workspace, entry: DatasetEntry) -> str:
    """A name for a dataset's files and mapping as they are now: a file is the same while path, size and time are.

    Raises DataError when it is not there.
    """
    path = locate(workspace, entry)
    files = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files_of(path, entry.name)]
    # A set has another order in each process.
    meaning = {**asdict(entry), "named_columns": sorted(entry.named_columns)}
    return hashlib.sha256(json.dumps([files, meaning], default=str).encode()).hexdigest()[:24]


def keep(workspace: Workspace, key: str, entry: DatasetEntry, report: TokenReport) -> None:
    """Write a report, and what the list shows of it."""
    place = folder(workspace)
    place.mkdir(parents=True, exist_ok=True)
    facts = {"name": report.name, "model": report.model, "template": report.template, "refused": report.refused}
    numbers = b"".join(part.tobytes() for part in (report.places, report.lengths, report.needs))
    _write(place / f"{key}.rows", numbers)
    tree = {**facts, "bad": report.bad, "steps": list(report.steps.items()), "rows": len(report.lengths)}
    _write(place / f"{key}.json", json.dumps(tree).encode())
    known = Known(sum(report.lengths), report.trained(), len(report.lengths), report.model)
    _write(place / _listed(report.name), json.dumps({"facts": facts_of(workspace, entry), **asdict(known)}).encode())


def read(workspace: Workspace, key: str) -> TokenReport | None:
    """The report of that name; None when there is none, or it cannot be read."""
    place = folder(workspace)
    try:
        tree = cast("dict[str, Any]", json.loads((place / f"{key}.json").read_bytes()))
        numbers = array(NUMBERS)
        numbers.frombytes((place / f"{key}.rows").read_bytes())
        rows = int(tree["rows"])
        if len(numbers) != 3 * rows:
            return None
        return TokenReport(
            name=tree["name"],
            model=tree["model"],
            template=tree["template"],
            refused=tree["refused"],
            bad=[(row, reason) for row, reason in tree["bad"]],
            steps=dict(tree["steps"]),
            places=numbers[:rows],
            lengths=numbers[rows : 2 * rows],
            needs=numbers[2 * rows :],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def known_tokens(workspace: Workspace) -> Mapping[str, Known]:
    """The last count of each dataset that was not changed since, by its name."""
    found: dict[str, Known] = {}
    for entry in load_registry(workspace).values():
        path = folder(workspace) / _listed(entry.name)
        if not isinstance(entry, DatasetEntry) or not path.is_file():
            continue
        try:
            tree = cast("dict[str, Any]", json.loads(path.read_bytes()))
            if tree.pop("facts") == facts_of(workspace, entry):
                found[entry.name] = Known(**tree)
        except (OSError, ValueError, KeyError, TypeError, DataError):
            continue  # a list without this number is still a list
    return found


def histogram(values: Sequence[int], most: int = 120) -> tuple[int, list[int]]:
    """How many values fall into each of at most `most` equal bins: the width of a bin, from 1 on, and the counts."""
    if not values:
        return 1, []
    width = max(1, -(-max(values) // most))
    counts = [0] * (max(values) // width + 1)
    for value in values:
        counts[value // width] += 1
    return width, counts


def share_at(values: Sequence[int], share: float) -> int:
    """The least value that at least this share of all values does not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered), round(share * len(ordered) + 0.5)) - 1)] if ordered else 0


def above(ordered: Sequence[int], limit: int) -> int:
    """How many of the sorted values lie above the limit."""
    return len(ordered) - bisect_right(ordered, limit)


def _listed(name: str) -> str:
    return f"of-{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
