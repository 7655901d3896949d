"""What a check of a dataset found: counts, the first places of each kind, and the rows to take out."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from studio.data.examples import Problem, place

Notice = Literal["order", "damaged", "duplicate", "near_duplicate", "overlap", "long", "untrainable"]
Finding = Problem | Notice

NAMED = 10  # places that are kept of each kind of finding

TITLES: dict[str, str] = {
    "file": "the file cannot be read",
    "not_json": "not JSON",
    "encoding": "not UTF-8, or half a character",
    "type": "wrong type",
    "missing": "missing field",
    "empty": "empty field or answer",
    "roles": "roles out of place",
    "placeholder": "placeholder without a value",
    "untrainable": "of a kind that cannot be trained on so far",
    "order": "turns do not alternate",
    "damaged": "damaged by a wrong encoding",
    "duplicate": "exact duplicate",
    "near_duplicate": "near duplicate",
    "overlap": "also in the evaluation set",
    "long": "longer than the cutoff (estimated at 4 characters a token)",
}
# Rows that cannot be used at all; the other findings are for a person to judge.
BROKEN: frozenset[str] = frozenset({"file", "not_json", "encoding", "type", "missing", "empty", "roles", "placeholder"})


@dataclass(frozen=True)
class Found:
    """One finding at one row. `row` is 0 when it is about a whole file, which the text then names."""

    source: str
    row: int
    line: int
    text: str

    def __str__(self) -> str:
        return f"{place(self.source, self.row, self.line)}: {self.text}" if self.row else self.text


@dataclass
class Report:
    """What was found in `rows` rows, `usable` of which are whole.

    `numbers` hold the places (from 0, in the order of reading) of the rows of each finding; `kinds` and `scripts`
    count the whole rows. `broken_off` says why reading ended before the end.
    """

    rows: int = 0
    usable: int = 0
    counts: Counter[str] = field(default_factory=Counter[str])
    named: dict[str, list[Found]] = field(default_factory=dict[str, list[Found]])
    numbers: dict[str, array[int]] = field(default_factory=dict[str, "array[int]"])
    kinds: Counter[str] = field(default_factory=Counter[str])
    scripts: Counter[str] = field(default_factory=Counter[str])
    characters: int = 0
    longest: int = 0
    broken_off: str = ""

    def add(self, kind: Finding, number: int, found: Found) -> None:
        """Count a finding at the row with that number; the first of a kind are kept in words."""
        self.counts[kind] += 1
        self.numbers.setdefault(kind, array("Q")).append(number)
        named = self.named.setdefault(kind, [])
        if len(named) < NAMED:
            named.append(found)

    def rows_with(self, kinds: Iterable[str]) -> frozenset[int]:
        """The numbers of all rows with a finding of these kinds: the rows that `remove these` takes out."""
        return frozenset(number for kind in kinds for number in self.numbers.get(kind, ()))

    def explain(self) -> list[str]:
        """The report in lines of text."""
        tokens = self.characters // 4
        lines = [
            f"{self.rows:,} rows, {self.usable:,} of them whole; about {tokens:,} tokens (estimated at 4 characters "
            f"a token), longest row about {self.longest // 4:,}.",
            f"kinds: {_shares(self.kinds)}; scripts: {_shares(self.scripts)}",
        ]
        for kind, title in TITLES.items():
            if self.counts[kind]:
                lines.append(f"{title}: {self.counts[kind]:,}")
                lines += [f"  {found}" for found in self.named[kind]]
                if self.counts[kind] > len(self.named[kind]):
                    lines.append(f"  and {self.counts[kind] - len(self.named[kind]):,} more")
        if not self.counts:
            lines.append("Nothing was found.")
        if self.broken_off:
            lines.append("Reading broke off there: what follows was not checked.")
        return lines


@dataclass
class Places:
    """Where each row was read, by its number: 4 bytes a row and one name a file."""

    starts: list[int] = field(default_factory=list[int])
    sources: list[str] = field(default_factory=list[str])
    rows: array[int] = field(default_factory=lambda: array("I"))

    def add(self, source: str, row: int) -> int:
        """The number of the next row."""
        if not self.sources or self.sources[-1] != source:
            self.starts.append(len(self.rows))
            self.sources.append(source)
        self.rows.append(row)
        return len(self.rows) - 1

    def at(self, number: int) -> str:
        """The place as a message names it."""
        return place(self.sources[bisect_right(self.starts, number) - 1], self.rows[number])


def _shares(counts: Counter[str]) -> str:
    total = sum(counts.values())
    return ", ".join(f"{name} {count / total:.0%}" for name, count in counts.most_common()) or "none"
