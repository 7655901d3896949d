"""Versions of a dataset's file: each save writes a new one beside it, and the registry says which one is read."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import quote

from studio.config.workspace import Workspace
from studio.data.edits import Edits
from studio.data.examples import DataError
from studio.data.files import KINDS, files_of, kind_of
from studio.data.pages import open_pages
from studio.data.reading import source_of
from studio.data.registry import DatasetEntry, entry_tree, find_entry, load_registry, locate
from studio.data.rewriting import fits, rewrite, rewrite_as_lines
from studio.data.writing import save_entry

VERSIONS = "versions"  # the registry's key for the files that a dataset had, the first one first

_NAME = re.compile(
    rf"(?P<stem>.+?)(?:\.v\d+)?(?P<ending>(?:{'|'.join(map(re.escape, KINDS))})?(?:\.gz)?)", re.IGNORECASE
)

Progress = Callable[[int], None]


@dataclass(frozen=True)
class SavedVersion:
    """A version that was written: its file as the registry names it, its rows, and what there is to say about it."""

    file: str
    rows: int
    note: str = ""


@dataclass(frozen=True)
class Version:
    """One file that a dataset had. `file` is as the registry names it, "" for the copy of a hub's dataset; `rows` is
    None while they are not counted, `size` in bytes, `time` of the last change in seconds, `current`: is it read."""

    file: str
    rows: int | None
    size: int
    time: float
    current: bool


def versions(workspace: Workspace, name: str) -> list[Version]:
    """The files that a dataset had, the first one first; those that were removed are left out. Raises DataError for
    an unknown dataset."""
    entry = find_entry(load_registry(workspace), name)
    found: list[Version] = []
    for file in _files(workspace, entry):
        try:
            path = locate(workspace, _with_file(entry, file))
            files = files_of(path, file)
            facts = [part.stat() for part in files]
            rows = open_pages(workspace, path).places()
        except (DataError, OSError):
            continue
        size, time = sum(fact.st_size for fact in facts), max(fact.st_mtime for fact in facts)
        found.append(Version(file, rows, size, time, file == (entry.file_name or "")))
    return found


def use_version(workspace: Workspace, name: str, file: str) -> None:
    """Let the dataset be read from one of its versions. Raises DataError for a file that is none of them."""
    entry = find_entry(load_registry(workspace), name)
    known = [version.file for version in versions(workspace, name)]
    if file not in known:
        raise DataError(f"{file!r} is no version of the dataset {name!r}. There are: {', '.join(known)}.")
    save_entry(workspace, name, {"file_name": file or None, VERSIONS: _files(workspace, entry)}, replace=True)


def save_version(workspace: Workspace, name: str, edits: Edits, progress: Progress | None) -> SavedVersion:
    """Write the rows with the edits as the next version and let the registry name it.

    It is of the same kind as the file, a folder for a folder; when an edited row does not fit into that (a new column
    in a table, a list in a csv, a line break in a txt), it is one file of JSON lines, and the note says so. Raises
    DataError where the file cannot be read, OSError from the disk: then nothing is left of the new version.
    """
    entry = find_entry(load_registry(workspace), name)
    path = locate(workspace, entry)
    source = source_of(workspace, path)
    files = [(file, f"{source}/{file.name}" if path.is_dir() else source) for file in files_of(path, source)]
    reason = fits(files[0][0], edits)
    folder, stem, ending = _home(workspace, entry, path)
    ending = ".jsonl" if reason else ending
    draft = folder / f".{quote(stem, safe=' ')}.saving"
    _clear(draft)
    try:
        if reason:
            rows = rewrite_as_lines(path, source, draft, edits, progress)
        elif path.is_dir():
            draft.mkdir()
            rows = rewrite(files, [draft / file.name for file, _ in files], edits, progress)
        else:
            rows = rewrite(files, [draft], edits, progress)
        new = _claim(draft, folder, stem, ending)
    finally:
        _clear(draft)
    parent = PurePosixPath(entry.file_name).parent if entry.file_name else PurePosixPath()
    file = (parent / new.name).as_posix()
    as_text = bool(reason) and kind_of(files[0][0]) == "txt"
    facts = {"formatting": "text", "columns": None} if as_text else {}
    save_entry(workspace, name, {"file_name": file, VERSIONS: [*_files(workspace, entry), file], **facts}, replace=True)
    return SavedVersion(file, rows, f"Written as JSON lines: {reason}." if reason else "")


def _files(workspace: Workspace, entry: DatasetEntry) -> list[str]:
    """All files that the dataset had, as the registry names them."""
    listed = entry_tree(workspace, entry.name).get(VERSIONS)
    files = [file for file in cast("list[Any]", listed) if isinstance(file, str)] if isinstance(listed, list) else []
    current = entry.file_name or ""
    return files if current in files else [*files, current]


def _with_file(entry: DatasetEntry, file: str) -> DatasetEntry:
    return replace(entry, file_name=file or None)


def _home(workspace: Workspace, entry: DatasetEntry, path: Path) -> tuple[Path, str, str]:
    """Folder, stem and ending of a version. That of a hub's dataset belongs among the data, not into the cache."""
    if entry.file_name is None:
        stem = "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in entry.name).strip(".") or "dataset"
        ending = "" if path.is_dir() else "".join(path.suffixes)
        workspace.data.mkdir(exist_ok=True)
        return workspace.data, stem, ending
    match = _NAME.fullmatch(path.name)
    stem, ending = (match["stem"], match["ending"]) if match and path.is_file() else (path.name, "")
    return path.parent, re.sub(r"\.v\d+$", "", stem), ending


def _claim(draft: Path, folder: Path, stem: str, ending: str) -> Path:
    """Give the draft the next free name, in one step and never that of a file which is there."""
    taken = [
        int(match[1]) for path in folder.glob("*") if (match := re.match(rf"{re.escape(stem)}\.v(\d+)\b", path.name))
    ]
    number = max([1, *taken])
    while True:
        number += 1
        target = folder / f"{stem}.v{number}{ending}"
        try:
            if draft.is_dir():
                if target.exists():
                    continue
                draft.rename(target)
            else:
                os.link(draft, target)
        except FileExistsError:
            continue
        return target


def _clear(draft: Path) -> None:
    """Take away what a save left, now or when it was killed."""
    if draft.is_dir():
        shutil.rmtree(draft)
    else:
        draft.unlink(missing_ok=True)
