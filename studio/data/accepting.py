"""Rows that were accepted, put into a dataset: a new one, or a new version of one that is there. Nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from studio.config.workspace import Workspace
from studio.data.converting import as_row, entry_for
from studio.data.edits import Edits
from studio.data.examples import DataError, Example
from studio.data.files import RawRow
from studio.data.formats import read_row
from studio.data.registry import DatasetEntry, find_entry, load_registry
from studio.data.versions import save_version
from studio.data.writing import save_entry, write_rows

FORMATTING = "openai"  # of a new dataset: the one format that holds everything that is written here


@dataclass(frozen=True)
class Taken:
    """Where the rows went: `file` as the registry names it; `new` when the dataset was not there before."""

    name: str
    file: str
    rows: int
    new: bool


def take_in(workspace: Workspace, name: str, examples: Sequence[Example]) -> Taken:
    """Put `examples`, which are all of one kind, into dataset `name`.

    A dataset that is there keeps its file and its format and gets a new version with the rows at its end. Raises
    DataError for a name that cannot be one, for a file that is in the way and for rows that the dataset cannot hold.
    """
    registry = load_registry(workspace)
    if name in registry:
        return _into(workspace, find_entry(registry, name), examples)
    if not name or name.startswith(".") or not all(sign.isalnum() or sign in "-_." for sign in name):
        raise DataError(f"{name!r} cannot be a name: use letters, digits, - _ and a dot, and do not begin with a dot.")
    path = workspace.resolve(str(workspace.data / f"{name}.jsonl"))
    write_rows(path, (as_row(example, FORMATTING) for example in examples))
    save_entry(workspace, name, entry_for(path.name, FORMATTING, examples[0]))
    return Taken(name, path.name, len(examples), new=True)


def _into(workspace: Workspace, entry: DatasetEntry, examples: Sequence[Example]) -> Taken:
    edits = Edits()
    for number, example in enumerate(examples, 1):
        edits.do({"op": "add", "place": -number, "after": None, "value": _as_its_row(example, entry)})
    saved = save_version(workspace, entry.name, edits, None)
    return Taken(entry.name, saved.file, len(examples), new=False)


def _as_its_row(example: Example, entry: DatasetEntry) -> dict[str, Any]:
    """The row with the columns and tags that `entry` names. Raises DataError when it would be read as another one."""
    if entry.formatting not in _RENAME:
        raise DataError(f"The dataset {entry.name!r} holds {entry.formatting} rows. Choose another dataset.")
    row = _RENAME[entry.formatting](as_row(example, entry.formatting), entry)
    try:
        same = replace(read_row(RawRow(example.source, example.row, row), entry), line=0) == example
    except DataError:
        same = False
    if not same:
        wanted = "preferences" if entry.ranking else "rows of another kind"
        raise DataError(
            f"The dataset {entry.name!r} holds {wanted}: it cannot take {example.where}. Choose another one."
        )
    return row


def _alpaca_row(row: dict[str, Any], entry: DatasetEntry) -> dict[str, Any]:
    theirs = {"instruction": "prompt", "input": "query", "output": "response"}
    return {entry.columns.get(theirs.get(name, name), name): value for name, value in row.items()}


def _turns_row(row: dict[str, Any], entry: DatasetEntry) -> dict[str, Any]:
    """The same turns under the entry's own names; as_row uses the defaults of the format."""
    tags = entry.tags
    roles = {"human": "user_tag", "gpt": "assistant_tag", "user": "user_tag", "assistant": "assistant_tag"}

    def turn(value: dict[str, str]) -> dict[str, str]:
        role, words = value.values()
        return {tags["role_tag"]: tags[roles[role]], tags["content_tag"]: words}

    found: dict[str, Any] = {}
    for name, value in row.items():
        if name in ("messages", "conversations"):
            found[entry.columns["messages"]] = [turn(inner) for inner in value]
        else:
            found[entry.columns.get(name, name)] = turn(value)
    return found


_RENAME = {"alpaca": _alpaca_row, "sharegpt": _turns_row, "openai": _turns_row}
