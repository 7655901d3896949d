"""The list of datasets: what each is, whether it was checked, and taking one out of the registry."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from studio.config.workspace import OutsideWorkspace
from studio.data.editing import Draft, draft_file
from studio.data.examples import DataError
from studio.data.kept_reports import newest_summary
from studio.data.listing import DatasetSummary, list_datasets
from studio.data.registry import DatasetEntry, Registry, entry_tree, load_registry, locate
from studio.data.report import BROKEN
from studio.data.token_reports import Known, known_tokens
from studio.data.versions import VERSIONS
from studio.data.writing import remove_entry
from studio.web.data_room import Action, DataRoom, Reply, Request, named
from studio.web.words import say


def actions(room: DataRoom) -> dict[str, Action]:
    """`all` and `remove`."""
    return {"all": lambda request: _all(room, request), "remove": lambda request: _remove(room, request)}


def _all(room: DataRoom, request: Request) -> Reply:
    """Every dataset in the registry's order; nothing when the page has it already."""
    workspace = room.workspace
    registry, tokens = load_registry(workspace), known_tokens(workspace)
    shown = [_shown(room, registry, summary, tokens.get(summary.name)) for summary in list_datasets(workspace)]
    version = hashlib.sha1(json.dumps(shown).encode(), usedforsecurity=False).hexdigest()
    return {} if version == request.get("version") else {"version": version, "datasets": shown}


def _shown(room: DataRoom, registry: Registry, summary: DatasetSummary, counted: Known | None) -> dict[str, Any]:
    line = {**asdict(summary), "checked": None, "tokens": None, "versions": 0, "unsaved": 0, "removable": False}
    entry = registry.get(summary.name)
    if summary.problem or summary.to_fetch or not isinstance(entry, DatasetEntry):
        return line
    return line | {
        "checked": _checked(room, entry),
        "removable": _own_file(room, entry) is not None,
        "tokens": counted.tokens if counted else None,
        "versions": len(cast("list[Any]", entry_tree(room.workspace, entry.name).get(VERSIONS) or ())),
        "unsaved": _unsaved(room, entry),
    }


def _unsaved(room: DataRoom, entry: DatasetEntry) -> int:
    """Rows in which a draft differs from the file; a draft that cannot be read has none."""
    if not draft_file(room.workspace, entry.name).exists():
        return 0
    try:
        return Draft.open(room.workspace, entry.name).count
    except (DataError, OSError, ValueError, KeyError):
        return 0


def _checked(room: DataRoom, entry: DatasetEntry) -> dict[str, int] | None:
    """How many findings the newest check has, and how many of them make a row useless."""
    kept = newest_summary(room.workspace, entry)
    if kept is None:
        return None
    counts = cast("dict[str, int]", kept.get("counts") or {})
    broken = sum(count for kind, count in counts.items() if kind in BROKEN)
    return {"findings": sum(counts.values()), "broken": broken}


def _own_file(room: DataRoom, entry: DatasetEntry) -> Path | None:
    """The file of a dataset when it is one file in the workspace's data folder, which alone may be deleted here."""
    try:
        path = locate(room.workspace, entry)
    except DataError:
        return None
    return path if path.is_file() and path.parent == room.workspace.data.resolve() else None


def _remove(room: DataRoom, request: Request) -> Reply:
    """Take a dataset out of the registry and, with `file`, delete its file where no other dataset reads it."""
    name, language = named(request), request["language"]
    registry = load_registry(room.workspace)
    entry = registry.get(name)
    path = _own_file(room, entry) if request.get("file") and isinstance(entry, DatasetEntry) else None
    if path is not None:
        others = [other for other in _readers(room, registry, path) if other != name]
        if others:
            raise DataError(say(language, "page.data.file_in_use", file=path.name, names=", ".join(others)))
    remove_entry(room.workspace, name)
    if path is not None:
        path.unlink()
    return {"message": say(language, "page.data.removed", name=name)}


def _readers(room: DataRoom, registry: Registry, path: Path) -> list[str]:
    found: list[str] = []
    for entry in registry.values():
        try:
            if isinstance(entry, DatasetEntry) and locate(room.workspace, entry) == path:
                found.append(entry.name)
        except (DataError, OutsideWorkspace):
            continue  # an entry without a file reads no other's
    return found
