"""The columns of a dataset that is listed: the roles that its entry gives them, and another choice written over it."""

from __future__ import annotations

from studio.data.registry import DatasetEntry, find_entry, load_registry, locate
from studio.data.writing import save_entry
from studio.web.data_add import facts_of, first_rows, preview, roles_and_fill
from studio.web.data_mapping import entry_value, roles_of
from studio.web.data_room import Action, DataRoom, Reply, Request, named
from studio.web.words import say


def actions(room: DataRoom) -> dict[str, Action]:
    """`look`, `preview` and `save`, as for a file that is added."""
    return {
        "look": lambda request: _look(room, request),
        "preview": lambda request: preview(room.workspace, locate(room.workspace, _entry(room, request)), request),
        "save": lambda request: _save(room, request),
    }


def _entry(room: DataRoom, request: Request) -> DatasetEntry:
    return find_entry(load_registry(room.workspace), named(request))


def _look(room: DataRoom, request: Request) -> Reply:
    entry = _entry(room, request)
    path = locate(room.workspace, entry)
    facts = facts_of(room.workspace, path, first_rows(room.workspace, path))
    return {
        **facts,
        "roles": roles_of(entry, facts["columns"]),
        "tags": dict(entry.tags),
        "fill": dict(entry.fill),
        "why": list(entry.notes),
        "unknown": "",
    }


def _save(room: DataRoom, request: Request) -> Reply:
    """Lay the new mapping over the entry; its other keys stay."""
    entry = _entry(room, request)
    path = locate(room.workspace, entry)
    columns = facts_of(room.workspace, path, first_rows(room.workspace, path))["columns"]
    roles, tags, fill = roles_and_fill(request)
    value = {**entry_value(roles, tags, columns), "fill": fill or None}
    save_entry(room.workspace, entry.name, value, replace=True)
    return {"message": say(request["language"], "page.data.columns.saved", name=entry.name)}
