"""The Rows view: any page of a dataset as its draft has it, search, and edits until they are a new version."""

from __future__ import annotations

from typing import Any

from studio.config.workspace import Workspace
from studio.data.editing import Draft, EditedRow
from studio.data.examples import BadRow, DataError
from studio.data.files import RawRow, files_of, kind_of
from studio.data.kept_reports import Question, kept_report, report_folder
from studio.data.pages import StillIndexing
from studio.data.registry import DatasetEntry, find_entry, load_registry, locate
from studio.data.searching import search
from studio.data.values import mapping
from studio.web.data_room import Action, DataRoom, Reply, Request, named, number
from studio.web.data_row_form import edited, form_of, new_value
from studio.web.data_shown import shown_row
from studio.web.words import say

MOST_ROWS = 100
SECONDS_A_SEARCH = 0.4
WHOLE = 2_000_000  # characters of a row that is asked for as a whole


def actions(room: DataRoom) -> dict[str, Action]:
    """Pages, one whole row, a row's form, and every step that a draft takes."""
    rows = RowsView(room.workspace)
    return {
        "page": rows.page,
        "search": rows.search,
        "whole": rows.whole,
        "form": rows.form,
        "change": rows.change,
        "add": rows.add,
        "remove": rows.remove,
        "undo": rows.undo,
        "redo": rows.redo,
        "discard": rows.discard,
        "save": rows.save,
        "saving": rows.saving,
    }


class RowsView:
    """Answers the page. How far a save is, is all that it keeps."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._saving: dict[str, int] = {}

    def page(self, request: Request) -> Reply:
        """`count` rows from the position `start` on; while a large file is being indexed, how far that is."""
        draft, entry = self._open(request)
        start, count = max(0, number(request, "start", 0)), min(MOST_ROWS, max(1, number(request, "count", 20)))
        reply: Reply = {"start": start, "total": None, "draft": _draft(draft)}
        try:
            rows = draft.page(start, count)
            return {**reply, "rows": _shown(rows, entry), "total": draft.total()}
        except StillIndexing as still:
            return {**reply, "rows": [], "indexing": still.progress}

    def search(self, request: Request) -> Reply:
        """Rows that answer to `query` from the place `start` on; `next` is where to look on when not `done`."""
        draft, entry = self._open(request)
        start, count = max(0, number(request, "start", 0)), min(MOST_ROWS, max(1, number(request, "count", 20)))
        only = self._rows_with(request)
        found = search(
            self.workspace, entry.name, str(request.get("query") or ""), start, count, SECONDS_A_SEARCH,
            only=only, draft=draft,
        )  # fmt: skip
        return {
            "rows": _shown(found.rows, entry),
            "next": found.next,
            "done": found.done,
            "total": draft.total(),
            "draft": _draft(draft),
        }

    def whole(self, request: Request) -> Reply:
        """One row with nothing cut."""
        draft, entry = self._open(request)
        return {"row": _shown([draft.row(_place(request))], entry, WHOLE)[0]}

    def form(self, request: Request) -> Reply:
        """What a row is edited by: its fields, or its text where it cannot be read; with no `place` an empty row."""
        draft, entry = self._open(request)
        if request.get("place") is None:
            return form_of(new_value(entry, self._plain(entry)), entry)
        place = _place(request)
        row = draft.row(place).row
        if isinstance(row, BadRow):
            return {"fields": [], "turns": None, "json": draft.text(place), "fault": row.reason}
        return form_of(_value(row), entry)

    def change(self, request: Request) -> Reply:
        """Give a row what the form holds."""
        draft, entry = self._open(request)
        place = _place(request)
        row = draft.row(place).row
        before = None if isinstance(row, BadRow) else _value(row)
        draft.change(place, edited(before, entry, mapping(request.get("edit"))))
        return {"row": _shown([draft.row(place)], entry)[0], "draft": _draft(draft)}

    def add(self, request: Request) -> Reply:
        """Put a new row behind the row `after`, or at the end."""
        draft, entry = self._open(request)
        after = number(request, "after", 0) if request.get("after") is not None else None
        value = edited(new_value(entry, self._plain(entry)), entry, mapping(request.get("edit")))
        place = draft.add(value, after)
        return {"row": _shown([draft.row(place)], entry)[0], "draft": _draft(draft)}

    def remove(self, request: Request) -> Reply:
        """Take one row out."""
        draft, _ = self._open(request)
        draft.remove([_place(request)])
        return {"draft": _draft(draft)}

    def undo(self, request: Request) -> Reply:
        """Take the last step back."""
        draft, _ = self._open(request)
        draft.undo()
        return {"draft": _draft(draft)}

    def redo(self, request: Request) -> Reply:
        """Take the step again that was taken back."""
        draft, _ = self._open(request)
        draft.redo()
        return {"draft": _draft(draft)}

    def discard(self, request: Request) -> Reply:
        """Forget all steps."""
        draft, _ = self._open(request)
        draft.discard()
        return {"draft": _draft(draft)}

    def save(self, request: Request) -> Reply:
        """Write the draft as a new version."""
        name = named(request)
        draft = Draft.open(self.workspace, name)

        def heard(rows: int) -> None:
            self._saving[name] = rows

        try:
            saved = draft.save(heard)
        finally:
            self._saving.pop(name, None)
        text = say(request["language"], "page.data.rows.saved", file=saved.file, rows=f"{saved.rows:,}")
        return {"message": f"{text} {saved.note}".strip(), "draft": _draft(draft)}

    def saving(self, request: Request) -> Reply:
        """How many rows a save in progress has written."""
        return {"rows": self._saving.get(named(request))}

    def _open(self, request: Request) -> tuple[Draft, DatasetEntry]:
        name = named(request)
        return Draft.open(self.workspace, name), find_entry(load_registry(self.workspace), name)

    def _plain(self, entry: DatasetEntry) -> bool:
        return kind_of(files_of(locate(self.workspace, entry), entry.name)[0]) == "txt"

    def _rows_with(self, request: Request) -> frozenset[int] | None:
        """The rows of one finding of a kept report; None when none was asked for."""
        kind, asked = request.get("finding"), mapping(request.get("question"))
        if not kind:
            return None
        question = Question(tuple(map(str, asked.get("against") or ())), asked.get("cutoff"), asked.get("near", True))
        kept = kept_report(report_folder(self.workspace, named(request), question))
        if kept is None:
            raise DataError(say(request["language"], "page.data.checks.stale"))
        return kept[1].rows_with([str(kind)])


def _place(request: Request) -> int:
    if request.get("place") is None:
        raise DataError("The request names no row.")
    return number(request, "place", 0)


def _value(row: RawRow) -> Any:
    return {"text": row.value} if row.plain else row.value


def _draft(draft: Draft) -> dict[str, Any]:
    stale = draft.stale
    return {
        "count": draft.count,
        "counts": draft.counts,
        "can_undo": draft.can_undo and not stale,
        "can_redo": draft.can_redo and not stale,
        "stale": stale,
    }


def _shown(rows: list[EditedRow], entry: DatasetEntry, most: int | None = None) -> list[dict[str, Any]]:
    options = {} if most is None else {"most": most}
    return [{"place": row.place, "state": row.state, **shown_row(row.row, entry, **options)} for row in rows]
