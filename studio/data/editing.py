"""An unsaved draft of one dataset: steps appended to a file of its own, which outlive the page and the server."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from studio.config.workspace import Workspace
from studio.data.edits import Edits, State, Step, removal
from studio.data.examples import BadRow, DataError
from studio.data.file_lock import alone_at
from studio.data.files import RawRow, files_of, kind_of
from studio.data.pages import RowPages, open_pages
from studio.data.registry import find_entry, load_registry, locate
from studio.data.same_file import facts_of, is_same
from studio.data.versions import SavedVersion, save_version

Progress = Callable[[int], None]


@dataclass(frozen=True)
class EditedRow:
    """A row as the draft has it. `place` is what `change`, `remove` and `add` take; below 0 it is an added row.

    `row` is a RawRow, or a BadRow where the file's own row cannot be read; of a changed row `before` is the file's.
    """

    place: int
    row: RawRow | BadRow
    state: State
    before: RawRow | BadRow | None = None


class Draft:
    """The draft of the dataset `name`; open it with `Draft.open`. Two of one dataset see each other's steps."""

    def __init__(self, workspace: Workspace, name: str, path: Path, pages: RowPages) -> None:
        self._workspace, self._name, self._path, self._pages = workspace, name, path, pages
        self._log, self._plain = draft_file(workspace, name), kind_of(files_of(path, pages.source)[0]) == "txt"
        self._edits, self._read = Edits(), 0  # what was read of the log, and its length in bytes
        self._head: bytes | None = None  # the log's first line, by which it is told from a later one
        self._basis: dict[str, Any] = {}

    @classmethod
    def open(cls, workspace: Workspace, name: str) -> Draft:
        """The draft of a dataset, empty where nothing was edited yet; nothing is written before the first step.

        Raises DataError for an unknown dataset and a file that is not there.
        """
        path = locate(workspace, find_entry(load_registry(workspace), name))
        return cls(workspace, name, path, open_pages(workspace, path))

    @property
    def stale(self) -> str:
        """Why the draft cannot be used: it was made against a file that is another now. "" when it can be."""
        self._sync()
        return self._staleness()

    @property
    def count(self) -> int:
        """Rows in which the draft differs from the file."""
        return self._synced().count

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._synced().done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step that was taken back."""
        return bool(self._synced().undone)

    @property
    def counts(self) -> dict[State, int]:
        """Changed, removed and added rows."""
        edits = self._synced()
        return {"changed": edits.changed, "removed": edits.removed, "added": len(edits.added)}

    def change(self, place: int, value: dict[str, Any]) -> None:
        """Give a row, whole or broken, another value; of a .txt file {"text": …}. Raises DataError for a row that is
        not there or removed, for a value that JSON cannot express and for a stale draft."""
        self._must_be_there([place])
        self._do({"op": "change", "place": place, "value": _checked(value)})

    def remove(self, places: Collection[int]) -> None:
        """Take rows out, all of them as one step; those that are out already stay so. The numbers of a check's report
        are such places. Raises DataError like `change`."""
        self._must_be_there(places)
        if places:
            self._do(removal(places))

    def add(self, value: dict[str, Any], after: int | None) -> int:
        """Put a new row behind the row `after`, None at the end; its place. Raises DataError like `change`."""
        self._must_be_there([] if after is None else [after])
        with self._locked():
            place = min((place for place in self._edits.values if place < 0), default=0)
            undone = [int(step["place"]) for step in self._edits.undone if step["op"] == "add"]
            place = min([place, *undone]) - 1
            self._append({"op": "add", "place": place, "after": after, "value": _checked(value)})
        return place

    def undo(self) -> bool:
        """Take the last step back; False when there is none."""
        return self._turn("undo", lambda: bool(self._edits.done))

    def redo(self) -> bool:
        """Take a step again that was taken back; False when there is none."""
        return self._turn("redo", lambda: bool(self._edits.undone))

    def discard(self) -> None:
        """Forget all steps, for good."""
        with alone_at(self._log):
            self._forget()

    def page(self, start: int, count: int) -> list[EditedRow]:
        """At most `count` rows from the position `start` on: those of the file, removed ones too, and added ones.

        Of a stale draft the rows are those of the file. Raises DataError like `RowPages.page`, StillIndexing included.
        """
        edits = Edits() if self.stale else self._edits
        places = edits.layout(start, count)
        inside = [place for place in places if place >= 0]
        first = inside[0] if inside else 0
        rows = self._pages.page(first, len(inside)) if inside else []
        found: list[EditedRow] = []
        for place in places:
            if place < 0:
                found.append(self._added(edits, place))
            elif place - first < len(rows):
                found.append(self._row(edits, place, rows[place - first]))
            else:
                total = first + len(rows) if rows else self._pages.places() or 0
                skipped = max(0, start - total - edits.inner())
                tail = edits.behind_all()[skipped : skipped + count - len(found)]
                return found + [self._added(edits, place) for place in tail]
        return found

    def row(self, place: int) -> EditedRow:
        """One row by its place, wherever it stands. Raises DataError when it is not there."""
        edits = self._synced()
        if place < 0 and place in edits.values:
            return self._added(edits, place)
        found = self._pages.page(place, 1) if place >= 0 else []
        if not found:
            raise DataError(f"There is no row {place + 1} in {self._pages.source}.")
        return self._row(edits, place, found[0])

    def edited(self, place: int, row: RawRow | BadRow) -> EditedRow:
        """What became of the row that the file has at a place, by the steps that were known at the last look."""
        return self._row(self._edits, place, row)

    def added_rows(self) -> list[EditedRow]:
        """The rows that were added, in their order."""
        return [self._added(self._edits, place) for _, place in self._synced().added]

    def touched(self) -> frozenset[int]:
        """The places of all rows that were changed, removed or added."""
        edits = self._synced()
        return frozenset(edits.removed_places()).union(edits.changed_places(), (place for _, place in edits.added))

    def changed_places(self) -> list[int]:
        """The places of the rows of the file that have another value."""
        return self._synced().changed_places()

    def text(self, place: int) -> str:
        """The text of a row as it stands in the file: what a person corrects of a broken line."""
        return self._pages.text(place)

    def total(self) -> int | None:
        """Positions there are: rows of the file and added ones; None while the file is not counted yet."""
        places = self._pages.places()
        return None if places is None else places + len(self._synced().added)

    def save(self, progress: Progress | None = None) -> SavedVersion:
        """Write all rows but the removed ones as a new version of the file, and let the registry name that.

        The file that was edited stays as it is. `progress` hears the number of rows written. Raises DataError for a
        stale draft and for an edit that cannot be written, OSError from the disk; the draft then stays.
        """
        with self._locked():
            saved = save_version(self._workspace, self._name, self._edits, progress)
            self._forget()
        return saved

    def _row(self, edits: Edits, place: int, row: RawRow | BadRow) -> EditedRow:
        if place not in edits.values:
            return EditedRow(place, row, edits.state(place))
        return EditedRow(place, self._raw(row.row, edits.values[place], row.line), edits.state(place), row)

    def _added(self, edits: Edits, place: int) -> EditedRow:
        return EditedRow(place, self._raw(0, edits.values[place]), "added")

    def _raw(self, row: int, value: Any, line: int = 0) -> RawRow:
        """A value as the file would give it: of lines of text the line itself."""
        if self._plain and set(value) == {"text"}:
            return RawRow(self._pages.source, row, value["text"], line, plain=True)
        return RawRow(self._pages.source, row, value, line)

    def _must_be_there(self, places: Collection[int]) -> None:
        """The last row decides: the index knows how many there are, or it is near enough to be looked up."""
        last = max(places, default=-1)
        if last >= 0:
            total = self._pages.places()
            if (last >= total) if total is not None else not self._pages.page(last, 1):
                raise DataError(f"There is no row {last + 1} in {self._pages.source}.")
        added = [place for place in places if place < 0]
        if added:
            known = frozenset(place for _, place in self._synced().added)
            if not known.issuperset(added):
                raise DataError("That added row is not in this draft any more.")

    def _do(self, step: Step) -> None:
        with self._locked():
            self._append(step)

    def _turn(self, word: str, possible: Callable[[], bool]) -> bool:
        with self._locked():
            if possible():
                self._append({"op": word})
                return True
            return False

    def _append(self, step: Step) -> None:
        """Take a step and write it behind those that are there; when the disk refuses it, it is not taken."""
        begin = {"op": "begin", "time": time.time(), **facts_of(self._path)}
        lines = [
            json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in ([step] if self._basis else [begin, step])
        ]
        _take(self._edits, step)
        with self._log.open("r+b") as file:
            file.truncate(self._read)  # what a killed server wrote of a step
            file.seek(self._read)
            try:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self._log, self._read)
                self._head = None  # the next look reads what is really there
                raise
            self._read = file.tell()
        if not self._basis:
            self._head, self._basis = lines[0], begin

    def _synced(self) -> Edits:
        self._sync()
        return self._edits

    def _sync(self) -> None:
        """Take the steps that others have written since the last look."""
        try:
            file = self._log.open("rb")
        except FileNotFoundError:
            self._begin(None)
            return
        with file:
            head = file.readline()
            if head != self._head:
                self._begin(head)
            file.seek(self._read)
            for line in file:
                step = _step(line)
                if step is None:
                    break
                try:
                    _take(self._edits, step)
                except (DataError, KeyError, TypeError, ValueError, StopIteration, zlib.error) as error:
                    self._head = None
                    raise DataError(f"The draft of {self._name!r} is damaged: {error}. Discard it.") from None
                self._read += len(line)

    def _begin(self, head: bytes | None) -> None:
        """Start from a log that has its first line at most."""
        step = _step(head or b"")
        self._edits, self._head = Edits(), head
        self._basis, self._read = (dict(step), len(head or b"")) if step else ({}, 0)

    def _staleness(self) -> str:
        now = locate(self._workspace, find_entry(load_registry(self._workspace), self._name))
        if not self._basis:
            return (
                "" if now == self._path else f"The dataset {self._name!r} is read from {now.name} now. Open it again."
            )
        old = Path(str(self._basis.get("path")))
        if old != now:
            return (
                f"This draft was made against {old.name}, but the dataset {self._name!r} is read from {now.name} now. "
                "Go back to that file, or discard the draft."
            )
        if not is_same(self._basis, self._path):
            return (
                f"The file {self._pages.source} was changed since this draft was made, so its rows may stand "
                "elsewhere. Discard the draft, or put the file back."
            )
        return ""

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Alone at the draft, with all steps of others taken. Raises DataError for a stale draft."""
        with alone_at(self._log):
            self._sync()
            try:
                reason = self._staleness()
                if reason:
                    raise DataError(reason)
                yield
            finally:
                if self._log.exists() and not self._log.stat().st_size:  # made for the lock alone
                    self._forget()

    def _forget(self) -> None:
        self._log.unlink(missing_ok=True)
        self._begin(None)


def draft_file(workspace: Workspace, name: str) -> Path:
    """Where the draft of a dataset lies: among the data, for it is somebody's work and no cache."""
    return workspace.data / ".drafts" / f"{quote(name, safe=' ')}.jsonl"


def drafts(workspace: Workspace) -> Iterator[Path]:
    """The files of all drafts that hold something."""
    yield from sorted((workspace.data / ".drafts").glob("*.jsonl"))


def _take(edits: Edits, step: Step) -> None:
    if step["op"] == "undo":
        edits.undo()
    elif step["op"] == "redo":
        edits.redo()
    else:
        edits.do(step)


def _step(line: bytes) -> Step | None:
    """One written step, None for one that was not written to its end."""
    if not line.endswith(b"\n"):
        return None
    try:
        return cast("Step", json.loads(line))
    except ValueError:
        return None


def _checked(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"The row cannot be written as JSON: {error}.") from None
    return value
