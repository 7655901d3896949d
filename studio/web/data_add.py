"""Adding a dataset: a file uploaded or named by its path, what it seems to be, its columns mapped, its entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from studio.config.workspace import Workspace
from studio.data.detection import ROWS_LOOKED_AT, Detection, detect
from studio.data.examples import BadRow, DataError
from studio.data.files import RawRow, files_of, kind_of, rows_of
from studio.data.reading import source_of
from studio.data.registry import BrokenEntry, DatasetEntry, Registry, load_registry, locate, read_entry
from studio.data.values import mapping
from studio.data.writing import save_entry
from studio.web.data_files import expect
from studio.web.data_mapping import entry_value, placeholders_in, roles_of, turns_of
from studio.web.data_room import Action, DataRoom, Reply, Request, named, number
from studio.web.data_shown import shown_row
from studio.web.words import say

ROWS_SHOWN = 6
MOST_OFFERED = 40


def actions(room: DataRoom) -> dict[str, Action]:
    """`files` and `upload` to get at a file, `look` and `preview` to understand it, `save` to write its entry."""
    workspace = room.workspace
    return {
        "files": lambda _request: {"files": list(_unlisted(workspace))},
        "upload": lambda request: _upload(room, request),
        "look": lambda request: _look(workspace, request),
        "preview": lambda request: preview(workspace, dataset_path(workspace, named(request, "path")), request),
        "save": lambda request: _save(workspace, request),
    }


def dataset_path(workspace: Workspace, text: str) -> Path:
    """The file or folder that a page names. Raises DataError for what is not there or is no data."""
    path = workspace.resolve(text.strip())
    if not path.exists():
        raise DataError(f"There is no {text} in {workspace.root}. Write the path from there on, or a whole path.")
    inner = path.relative_to(workspace.root) if path.is_relative_to(workspace.root) else Path(path.name)
    if inner.parts[:1] == (workspace.saves.name,) or any(part.startswith(".") for part in inner.parts):
        raise DataError(f"{text} belongs to Studio itself. Copy it into data/ to use it as a dataset.")
    if path.is_file() and not kind_of(path):
        raise DataError(f"{text} is of no kind that can be read as a dataset.")
    return path


def first_rows(workspace: Workspace, path: Path) -> list[RawRow | BadRow]:
    """The rows that a mapping is tried on."""
    return list(islice(rows_of(path, source_of(workspace, path)), ROWS_LOOKED_AT))


def facts_of(workspace: Workspace, path: Path, rows: Sequence[RawRow | BadRow]) -> dict[str, Any]:
    """What a page needs to map the columns of a file: its columns, its turns, its placeholders, its size."""
    values = [row.value for row in rows if isinstance(row, RawRow)]
    columns = list(dict.fromkeys(str(key) for value in values for key in mapping(value)))
    return {
        "path": source_of(workspace, path),
        "size": sum(file.stat().st_size for file in files_of(path, path.name)),
        "kind": kind_of(files_of(path, path.name)[0]),
        "columns": columns,
        "plain": any(isinstance(row, RawRow) and row.plain for row in rows),
        "turns": turns_of(values),
        "placeholders": placeholders_in(values),
    }


def preview(workspace: Workspace, path: Path, request: Request) -> Reply:
    """The first rows as the trainer would understand them with these roles, how many are faulty, and the entry."""
    rows = first_rows(workspace, path)
    found = list(dict.fromkeys(str(key) for row in rows if isinstance(row, RawRow) for key in mapping(row.value)))
    value = _value(request, found)
    entry = read_entry("", {"file_name": path.name, **value})
    if isinstance(entry, BrokenEntry):
        raise DataError(entry.reason)
    shown = [shown_row(row, entry) for row in rows]
    faults = [row for row in shown if "fault" in row]
    first = shown[:ROWS_SHOWN] + [row for row in faults if row not in shown[:ROWS_SHOWN]][:3]
    return {
        "rows": first,
        "looked_at": len(rows),
        "faulty": len(faults),
        "hints": list(dict.fromkeys(row["hint"] for row in shown if "hint" in row)),
        "formatting": entry.formatting,
        "entry": {"file_name": file_name(workspace, path), **value},
    }


def file_name(workspace: Workspace, path: Path) -> str:
    """What the registry calls a file: looked for in the data folder first, then from the workspace on."""
    for root in (workspace.data, workspace.root):
        if path.is_relative_to(root):
            name = path.relative_to(root).as_posix()
            if (workspace.data / name).resolve() == path or not (workspace.data / name).exists():
                return name
    return str(path)


def _value(request: Request, found: Sequence[str]) -> dict[str, Any]:
    """The entry that the page's clicks amount to, without the keys that have to go."""
    roles, tags, fill = roles_and_fill(request)
    value = {**entry_value(roles, tags, found), "fill": fill or None}
    return {key: inner for key, inner in value.items() if inner is not None}


def roles_and_fill(request: Request) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """What was clicked: columns to roles, tags of turns, values of placeholders. Raises DataError."""
    return _texts(request, "roles"), _texts(request, "tags"), _texts(request, "fill")


def _texts(request: Request, key: str) -> dict[str, str]:
    value = mapping(request.get(key) or {})
    if not all(isinstance(inner, str) for inner in value.values()):
        raise DataError(f"{key} must be an object of texts.")
    return {str(name): inner for name, inner in value.items() if inner}


def _upload(room: DataRoom, request: Request) -> Reply:
    path, name = expect(room.workspace, room.tickets, named(request, "file"), number(request, "size", 0))
    return {"put": path, "name": name}


def _look(workspace: Workspace, request: Request) -> Reply:
    """What a file seems to be and why; where no format is known the reason, and the roles are left to the person."""
    path = dataset_path(workspace, named(request, "path"))
    rows = first_rows(workspace, path)
    if not any(isinstance(row, RawRow) for row in rows):
        raise DataError(str(rows[0]) if rows else f"{path.name} holds no rows.")
    reply: Reply = {**facts_of(workspace, path, rows), "roles": {}, "tags": {}, "why": [], "unknown": ""}
    try:
        found = detect(path, path.name)
        reply |= {"roles": _detected(found, path), "tags": dict(found.tags), "why": list(found.why)}
    except DataError as error:
        reply["unknown"] = str(error)
    taken = load_registry(workspace)
    return {**reply, "name": _free_name(_stem(path), taken), "listed": _listed(workspace, taken, path)}


def _detected(found: Detection, path: Path) -> dict[str, str]:
    entry = read_entry("", found.entry(path.name))
    return roles_of(entry, found.found) if isinstance(entry, DatasetEntry) else {}


def _save(workspace: Workspace, request: Request) -> Reply:
    """Write the entry of a new dataset. A name that is taken is refused."""
    path, name = dataset_path(workspace, named(request, "path")), named(request).strip()
    if not name[:1].isalnum() or len(name) > 120 or not all(sign.isalnum() or sign in "-_." for sign in name):
        raise DataError(say(request["language"], "page.data.add.bad_name", name=name))
    rows = first_rows(workspace, path)
    found = list(dict.fromkeys(str(key) for row in rows if isinstance(row, RawRow) for key in mapping(row.value)))
    value = {"file_name": file_name(workspace, path), **_value(request, found)}
    entry = read_entry(name, value)
    if isinstance(entry, DatasetEntry):
        locate(workspace, entry)
    save_entry(workspace, name, value)
    return {"message": say(request["language"], "page.data.add.saved", name=name), "name": name}


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0] if path.is_file() else path.name


def _free_name(stem: str, taken: Registry) -> str:
    name, count = stem, 1
    while name in taken:
        count += 1
        name = f"{stem}-{count}"
    return name


def _listed(workspace: Workspace, registry: Registry, path: Path) -> list[str]:
    """Datasets that read this file already."""
    names: list[str] = []
    for entry in registry.values():
        if isinstance(entry, DatasetEntry) and entry.file_name and Path(entry.file_name).name == path.name:
            try:
                names += [entry.name] if locate(workspace, entry) == path else []
            except (DataError, OSError):
                continue  # it reads no file at all
    return names


def _unlisted(workspace: Workspace) -> Iterator[dict[str, Any]]:
    """Files in the data folder that no dataset reads yet, the newest first."""
    if not workspace.data.is_dir():
        return
    registry = load_registry(workspace)
    names = {Path(entry.file_name).name for entry in registry.values()
             if isinstance(entry, DatasetEntry) and entry.file_name}  # fmt: skip
    files = [path for path in workspace.data.iterdir() if path.is_file() and kind_of(path)]
    skipped = {workspace.registry.name, *names}
    fresh = [path for path in files if path.name not in skipped and not path.name.startswith(".")]
    for path in sorted(fresh, key=lambda path: path.stat().st_mtime, reverse=True)[:MOST_OFFERED]:
        yield {"path": path.relative_to(workspace.root).as_posix(), "size": path.stat().st_size}
