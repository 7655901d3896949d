"""Rows that somebody adds one by one, from a chat say: appended to a dataset that was begun the same way."""

from __future__ import annotations

import fcntl
import json
import os
import re

from studio.config.workspace import Workspace
from studio.data.converting import as_row, entry_for
from studio.data.examples import DataError, Example
from studio.data.registry import DatasetEntry, load_registry, locate
from studio.data.writing import save_entry, write_rows

FORMATTING = "openai"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def keep(workspace: Workspace, name: str, example: Example) -> str:
    """Append a row to the dataset `name`, which is made if there is none; the file, as messages name it.

    Raises DataError for a name that no file may have, and for a dataset of another form: a conversation is not put
    among preferences, nor anything into a file that is not a .jsonl of OpenAI's messages.
    """
    row, entry = as_row(example, FORMATTING), entry_for(f"{name}.jsonl", FORMATTING, example)
    if not _NAME.fullmatch(name):
        raise DataError(f"{name!r} cannot be a dataset's name. Use letters, digits, dots, hyphens and underscores.")
    found = load_registry(workspace).get(name)
    if found is None:
        write_rows(workspace.data / f"{name}.jsonl", [row])
        save_entry(workspace, name, entry)
        return f"data/{name}.jsonl"
    fits = isinstance(found, DatasetEntry) and found.formatting == FORMATTING and found.ranking is ("ranking" in entry)
    path = locate(workspace, found) if isinstance(found, DatasetEntry) and fits else None
    if path is None or path.suffix != ".jsonl":
        wanted = "preferences" if "ranking" in entry else "conversations"
        raise DataError(f"{name} is no .jsonl of {wanted} in OpenAI's form. Choose another name: a new one is made.")
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            closed = file.read(1) == b"\n"
        else:
            closed = True
        file.seek(0, os.SEEK_END)
        file.write((b"" if closed else b"\n") + json.dumps(row, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return f"data/{path.name}"
