"""What a person decided about the rows that a model wrote: accept, edit, reject, undo; kept as it was said.

Page and terminal use this one module. Decisions are lines of review.jsonl in the run's folder, only ever appended; what
they add up to is found by reading them in order.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from studio.config.faults import ConfigError
from studio.config.io import read_yaml
from studio.config.workspace import Workspace
from studio.data.accepting import Taken, take_in
from studio.data.examples import DataError
from studio.data.generated import FILE as GENERATED
from studio.data.generated import Finished, WrittenRow, append_line, read_generated, read_lines

FILE = "review.jsonl"

State = Literal["pending", "accepted", "rejected", "added"]
STATES: tuple[State, ...] = get_args(State)
VERDICTS: Mapping[str, State] = {"accept": "accepted", "reject": "rejected", "reopen": "pending"}


@dataclass(frozen=True)
class Reviewed:
    """One row with what became of it. `number` counts from 1; `dataset` is where an added row went."""

    number: int
    row: WrittenRow
    state: State
    edited: bool
    dataset: str
    request: Finished


class Review:
    """The review of one run, as far as its folder holds it; the run may be writing further rows meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._load()

    @property
    def rows(self) -> list[Reviewed]:
        """Every row in its order."""
        return [self._reviewed(number) for number in range(1, len(self._originals) + 1)]

    @property
    def counts(self) -> dict[State, int]:
        """How many rows there are of each state."""
        found = dict.fromkeys(STATES, 0)
        for number in range(1, len(self._originals) + 1):
            found[self._states.get(number, "pending")] += 1
        return found

    @property
    def can_undo(self) -> bool:
        """Whether there is a decision to take back: one since rows were last added to a dataset."""
        return bool(self._done)

    def numbers(self, state: State) -> list[int]:
        """The numbers of the rows in a state."""
        return [number for number in range(1, len(self._originals) + 1) if self._states.get(number, "pending") == state]

    def decide(self, verdict: str, numbers: Collection[int]) -> None:
        """Accept, reject or reopen rows, all as one decision.

        Raises DataError for another verdict, and for a row that is not there or that a dataset holds already.
        """
        if verdict not in VERDICTS:
            raise DataError(f"{verdict!r} is no decision. There are: {', '.join(VERDICTS)}.")
        with self._alone():
            self._must_be_open(numbers)
            if numbers:
                self._append({"op": verdict, "rows": sorted(numbers)})

    def edit(self, number: int, value: object) -> None:
        """Give a row other words. Raises DataError for words that make no row, and like `decide`."""
        row = WrittenRow.read(value)
        with self._alone():
            self._must_be_open([number])
            if bool(row.chosen) != bool(self._originals[number - 1].chosen):
                raise DataError("A preference stays a preference, and a conversation a conversation.", "type")
            if row != self._row(number):
                self._append({"op": "edit", "rows": [number], "row": row.tree()})

    def undo(self) -> bool:
        """Take the last decision back; False when there is none."""
        with self._alone():
            possible = self.can_undo
            if possible:
                self._append({"op": "undo"})
            return possible

    def add_to(self, workspace: Workspace, name: str) -> Taken:
        """Write the accepted rows into dataset `name`: a new one, or a new version of one that is there.

        Raises DataError when no row is accepted or the dataset cannot take the rows; then nothing is written.
        """
        with self._alone():
            accepted = self.numbers("accepted")
            if not accepted:
                raise DataError("No row is accepted yet: accept some first.")
            source = f"{self.folder.name}/{GENERATED}"
            taken = take_in(workspace, name, [self._row(number).example(source, number) for number in accepted])
            self._append({"op": "added", "rows": accepted, "to": name})
            return taken

    def _load(self) -> None:
        generated = read_generated(self.folder)
        self._originals = generated.rows
        self._requests = [finished for finished in generated.finished for _ in finished.rows]
        self.failures = generated.failures
        self._edits: dict[int, WrittenRow] = {}
        self._states: dict[int, State] = {}
        self._datasets: dict[int, str] = {}
        self._done: list[dict[int, tuple[State, WrittenRow | None]]] = []
        for decision in read_lines(self.folder / FILE):
            self._take(decision)

    def _take(self, decision: Mapping[str, Any]) -> None:
        """One decision on top of those before it; what makes no sense is passed over."""
        verb, numbers = decision.get("op"), self._known(decision.get("rows"))
        if verb == "undo":
            for number, (state, row) in (self._done.pop() if self._done else {}).items():
                self._states[number] = state
                if row is None:
                    self._edits.pop(number, None)
                else:
                    self._edits[number] = row
            return
        if verb == "added":
            self._done.clear()
            self._states.update(dict.fromkeys(numbers, cast("State", "added")))
            self._datasets.update(dict.fromkeys(numbers, str(decision.get("to"))))
            return
        self._done.append(
            {number: (self._states.get(number, "pending"), self._edits.get(number)) for number in numbers}
        )
        if verb == "edit":
            self._edits.update(dict.fromkeys(numbers, WrittenRow.read(decision.get("row"))))
        elif verb in VERDICTS:
            self._states.update(dict.fromkeys(numbers, VERDICTS[str(verb)]))

    def _known(self, value: object) -> list[int]:
        numbers = cast("list[object]", value) if isinstance(value, list) else []
        return [number for number in numbers if isinstance(number, int) and 0 < number <= len(self._originals)]

    def _append(self, decision: Mapping[str, Any]) -> None:
        append_line(self.folder / FILE, json.dumps({**decision, "time": time.time()}, ensure_ascii=False) + "\n")
        self._take(decision)

    def _must_be_open(self, numbers: Collection[int]) -> None:
        for number in numbers:
            if not 0 < number <= len(self._originals):
                raise DataError(f"There is no row {number}: {self.folder.name} wrote {len(self._originals)} so far.")
            if number in self._datasets:
                raise DataError(f"Row {number} is in the dataset {self._datasets[number]!r} already. Edit it there.")

    def _row(self, number: int) -> WrittenRow:
        return self._edits.get(number, self._originals[number - 1])

    def _reviewed(self, number: int) -> Reviewed:
        state, dataset = self._states.get(number, "pending"), self._datasets.get(number, "")
        edited = self._row(number) != self._originals[number - 1]
        return Reviewed(number, self._row(number), state, edited, dataset, self._requests[number - 1])

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Alone at the review, with what others have decided and the run has written by now."""
        with (self.folder / FILE).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._load()
            yield


def numbers_in(text: str, review: Review) -> list[int]:
    """The rows that a person means: all that are pending, or numbers and ranges as in 1,4,7-9. Raises DataError."""
    if text.strip() == "all":
        return review.numbers("pending")
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise DataError(f"{part!r} is no row. Write all, or numbers and ranges such as 1,4,7-9.")
        found += range(int(first), int(last if dash else first) + 1)
    return list(dict.fromkeys(found))


def meant_for(folder: Path) -> str:
    """The dataset that the run's config names for its rows, else one called like the run."""
    try:
        rows = read_yaml((folder / "config.yaml").read_text(encoding="utf-8")).get("rows")
    except (OSError, UnicodeDecodeError, ConfigError):  # damaged: the name of the run does as well
        return folder.name
    wanted = cast("dict[str, object]", rows).get("dataset") if isinstance(rows, dict) else None
    return wanted if isinstance(wanted, str) and wanted else folder.name


def answered(folder: Path) -> bool:
    """Whether a run has written rows, or a request that failed, so that there is something to see."""
    return (folder / GENERATED).exists()


def page_of(rows: Sequence[Reviewed], state: str, start: int, count: int) -> tuple[list[Reviewed], int]:
    """At most `count` of the rows in a state ("" for any) from place `start` on, and how many there are of them."""
    found = [row for row in rows if state in ("", row.state)]
    return found[start : start + count], len(found)
