"""Rows that hold a text or are of some kind, looked for in a stream, a little at each call."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from studio.config.workspace import Workspace
from studio.data.check import disorder, texts_of
from studio.data.damage import damage
from studio.data.editing import Draft, EditedRow
from studio.data.examples import BadRow, DataError, Example
from studio.data.files import RawRow
from studio.data.pages import RowPages, StillIndexing, open_pages
from studio.data.reading import example_of
from studio.data.registry import DatasetEntry, find_entry, load_registry, locate
from studio.data.report import BROKEN

KINDS = ("text", "chat", "tools", "prompt", "preference", "judged", "media")
ALONE = ("broken", "order", "damaged", *sorted(BROKEN - {"file"}))  # findings that one row shows by itself
STATES = ("changed", "removed", "added")
ROLES = ("system", "user", "assistant", "tool")
ROWS_AT_ONCE = 64  # that are read for one of a list of places, since the next is often near

_ESCAPED = re.compile(r'["\\/\x00-\x1f]')  # what JSON may write otherwise than as itself

Row = RawRow | BadRow
Test = Callable[[EditedRow], bool]


@dataclass(frozen=True)
class Found:
    """What one call found. `next` is where to look on, `done` says that the end was reached; `looked` counts the rows
    that were passed in this call."""

    rows: list[EditedRow]
    next: int
    done: bool
    looked: int


def search(
    workspace: Workspace,
    name: str,
    query: str,
    after: int = 0,
    limit: int = 20,
    seconds: float = 0.5,
    *,
    only: Collection[int] | None = None,
    draft: Draft | None = None,
) -> Found:
    """The rows of a dataset that answer to `query`, from the place `after` on: at most `limit`, for about `seconds`.

    A query is words, each of which a row must answer to; quotes hold words together. A word is looked for anywhere in
    the row's values, in whatever case; `column:word` in one column, where the row has it; `is:word` asks for a kind
    (chat, preference …), a finding that the row shows by itself (broken, missing …) or, with a draft, for changed,
    added or removed rows; `has:role` for a turn of system, user, assistant or tool. `only` are places to look at,
    such as those of a finding in a report. Rows added in the draft come behind those of the file. Raises DataError
    for an unknown dataset and a file that cannot be read.
    """
    entry = find_entry(load_registry(workspace), name)
    pages = open_pages(workspace, locate(workspace, entry))
    words = _words(query)
    draft = None if draft is None or draft.stale else draft
    tests = [_test(word, entry, draft is not None) for word in words]
    if draft is not None and any(word in words for word in map("is:{}".format, STATES)):
        only = draft.touched() if only is None else draft.touched() & frozenset(only)
    rows = _streamed(pages, after, words, draft) if only is None else _listed(pages, after, only, draft)
    deadline, found, place = time.monotonic() + seconds, list[EditedRow](), after
    try:
        for row, place in rows:
            if row is not None and all(test(row) for test in tests):
                found.append(row)
            if len(found) >= limit or time.monotonic() > deadline:
                return Found(found, place, False, place - after)
    except StillIndexing:  # the next call finds more of the index
        return Found(found, place, False, place - after)
    return Found(found, place, True, place - after)


def _words(query: str) -> list[str]:
    """The words of a query, in small letters; what stands in quotes is one word."""
    parts = re.findall(r'(?:[^\s":]+:)?"[^"]*"|\S+', query)
    return [word for part in parts if (word := part.replace('"', "").casefold())]


def _streamed(
    pages: RowPages, after: int, words: Sequence[str], draft: Draft | None
) -> Iterator[tuple[EditedRow | None, int]]:
    """Each row from `after` on, or None for one that cannot answer, and the place behind it."""
    place, total = after, pages.places()
    if total is None or after < total:
        changed = frozenset(draft.changed_places() if draft else ())
        for row in pages.rows(after, _passes(words)):
            yield _as_drafted(draft, place, row, place in changed), place + 1
            place += 1
        total = place
    for row in draft.added_rows()[place - total :] if draft else []:
        place += 1
        yield row, place


def _as_drafted(draft: Draft | None, place: int, row: Row | None, changed: bool) -> EditedRow | None:
    """The row as the draft has it; what was held off in the file may answer now that it is changed."""
    if row is None:
        return draft.row(place) if draft and changed else None
    return draft.edited(place, row) if draft else EditedRow(place, row, "same")


def _listed(
    pages: RowPages, after: int, only: Collection[int], draft: Draft | None
) -> Iterator[tuple[EditedRow | None, int]]:
    """The rows at these places, in their order; those added in the draft come last."""
    first, rows = 0, list[Row]()
    for place in sorted(place for place in only if place >= after):
        if not first <= place < first + len(rows):
            first, rows = place, pages.page(place, ROWS_AT_ONCE)
        if place - first < len(rows):
            row = rows[place - first]
            yield draft.edited(place, row) if draft else EditedRow(place, row, "same"), place + 1
    fresh = [row for row in draft.added_rows() if row.place in only] if draft else []
    total = pages.places() or 0
    for number, row in enumerate(fresh):
        if total + number >= after:
            yield row, total + number + 1


def _passes(words: Sequence[str]) -> Callable[[bytes], bool] | None:
    """A look at a line before it is parsed: False when it certainly does not answer. None when no word allows one.

    A line that writes letters by their numbers is let through: its words do not stand in it as they are.
    """
    texts = [word.partition(":")[2] or word for word in words if not word.startswith(("is:", "has:"))]
    texts = [text for text in texts if not _ESCAPED.search(text)]
    if not texts:
        return None
    raws = [text.encode() for text in texts]
    plain = all(raw.isascii() for raw in raws)

    def passes(line: bytes) -> bool:
        if b"\\u" in line:
            return True
        if line.isascii():
            low = line.lower()
            return plain and all(raw in low for raw in raws)
        folded = line.decode("utf-8", "replace").casefold()
        return all(text in folded for text in texts)

    return passes


def _test(word: str, entry: DatasetEntry, with_draft: bool) -> Test:
    kind, colon, rest = word.partition(":")
    if kind == "is" and colon:
        return _is(rest, entry, with_draft)
    if kind == "has" and colon:
        if rest not in ROLES:
            raise DataError(f"has:{rest} is unknown. There are: {', '.join(f'has:{role}' for role in ROLES)}.")
        return lambda row: any(message.role == rest for message in _messages(row, entry))
    return lambda row: _holds(row, word, kind if colon else "", rest)


def _is(word: str, entry: DatasetEntry, with_draft: bool) -> Test:
    if word in STATES and with_draft:
        return lambda row: row.state == word
    if word in KINDS:
        return lambda row: isinstance(example := _example(row, entry), Example) and example.kind == word
    if word in ALONE:
        return lambda row: _shows(row, word, entry)
    words = (*KINDS, *ALONE, *(STATES if with_draft else ()))
    raise DataError(f"is:{word} is unknown. There are: {', '.join(f'is:{known}' for known in words)}.")


def _shows(row: EditedRow, finding: str, entry: DatasetEntry) -> bool:
    example = _example(row, entry)
    if isinstance(example, BadRow):
        return finding in ("broken", example.problem)
    if finding == "order":
        return disorder(example.messages) is not None
    return finding == "damaged" and any(damage(text) for text in texts_of(example))


def _example(row: EditedRow, entry: DatasetEntry) -> Example | BadRow:
    return row.row if isinstance(row.row, BadRow) else example_of(row.row, entry)


def _messages(row: EditedRow, entry: DatasetEntry) -> Sequence[Any]:
    example = _example(row, entry)
    return () if isinstance(example, BadRow) else example.messages


def _holds(row: EditedRow, word: str, column: str, rest: str) -> bool:
    if isinstance(row.row, BadRow):
        return False
    value = cast("object", row.row.value)
    if column and isinstance(value, dict):
        columns = {name.casefold(): inner for name, inner in cast("Mapping[str, object]", value).items()}
        if column in columns:
            return any(rest in text.casefold() for text in _texts(columns[column]))
    return any(word in text.casefold() for text in _texts(cast("object", value)))


def _texts(value: object) -> Iterator[str]:
    """All texts and numbers in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in cast("Mapping[str, object]", value).values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from _texts(inner)
    elif value is not None and not isinstance(value, bytes):
        yield str(value)
