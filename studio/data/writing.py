"""What the data room writes: entries of the registry and files of rows, each whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.data.registry import BrokenEntry, read_entry, read_tree, registry_files


def save_entry(workspace: Workspace, name: str, value: Mapping[str, Any], *, replace: bool = False) -> Path:
    """Write one entry into the registry that holds it, else into the workspace's own; the file that was written.

    All other entries, unknown keys and the order stay; with `replace` the keys given are laid over those that the
    entry has, and a None removes a key. Raises DataError for a name that is taken (unless `replace`), for an entry
    that would be broken and for a registry that cannot be read; then nothing is written.
    """
    with _alone(workspace):
        path = _home(workspace, name)
        tree = read_tree(path) if path.is_file() else {}
        if name in tree and not replace:
            raise DataError(f"There is a dataset {name!r} already. Choose another name, or replace it.")
        old = cast("dict[str, Any]", tree[name]) if isinstance(tree.get(name), dict) else {}
        entry = {key: inner for key, inner in {**old, **value}.items() if inner is not None}
        checked = read_entry(name, entry)
        if isinstance(checked, BrokenEntry):
            raise DataError(f"The entry {name!r} would be broken: {checked.reason}")
        _write_tree(path, {**tree, name: entry})
    return path


def remove_entry(workspace: Workspace, name: str) -> Path:
    """Take one entry out of the registry; the file with its rows stays. Raises DataError when there is none."""
    with _alone(workspace):
        path = _home(workspace, name)
        tree = read_tree(path) if path.is_file() else {}
        if name not in tree:
            raise DataError(f"There is no dataset {name!r} in {path.name}.")
        _write_tree(path, {key: inner for key, inner in tree.items() if key != name})
    return path


def write_rows(path: Path, rows: Iterable[Any], *, replace: bool = False) -> int:
    """Write rows as .jsonl or .json, chosen by the ending, one at a time; how many. The file is whole or not there.

    Raises DataError when the file exists (unless `replace`) or has another ending, and OSError from the disk.
    """
    if path.suffix not in (".jsonl", ".json"):
        raise DataError(f"{path.name} must end in .jsonl or .json: these can be written.")
    if path.exists() and not replace:
        raise DataError(f"{path} is there already. Choose another name, or remove it first.")
    as_list, count = path.suffix == ".json", 0
    with _atomic(path) as file:
        for row in rows:
            text = json.dumps(row, ensure_ascii=False)
            file.write((",\n" if count else "[\n") + text if as_list else text + "\n")
            count += 1
        if as_list:
            file.write("\n]\n" if count else "[]\n")
    return count


@contextmanager
def _alone(workspace: Workspace) -> Generator[None]:
    """Between reading a registry and writing it no other process may write it, or its entry would be lost. The lock
    is the kernel's and goes with the process that holds it."""
    with (workspace.root / ".dataset_info.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _home(workspace: Workspace, name: str) -> Path:
    """The registry that holds the name; a new one goes into the workspace, never into a folder that was allowed."""
    files = registry_files(workspace)
    holding = [path for path in files if name in read_tree(path)]
    own = [path for path in files if path.parent in (workspace.root, workspace.data)]
    return (holding or own or [workspace.registry])[0]


def _write_tree(path: Path, tree: Mapping[str, Any]) -> None:
    with _atomic(path) as file:
        file.write(json.dumps(tree, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def _atomic(path: Path) -> Generator[IO[str]]:
    """A draft beside `path` that takes its place when all went well, and is gone when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
