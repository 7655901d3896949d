"""New datasets from those that are there: cleaned, split, merged or converted. The old ones stay as they are."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, cast

from studio.config.workspace import Workspace
from studio.data.converting import as_row, entry_for
from studio.data.examples import BadRow, DataError, Example
from studio.data.files import files_of, kind_of
from studio.data.reading import example_of, stream_raw
from studio.data.registry import REMOTE_KEYS, DatasetEntry, find_entry, load_registry, locate, read_tree, registry_files
from studio.data.splits import split
from studio.data.versions import VERSIONS
from studio.data.writing import save_entry, write_rows

Values = dict[str, Any]

# What an entry says of its own file, and not of one that is made from it.
OF_ONE_FILE = ("num_samples", "subset", "split", "folder", VERSIONS, *REMOTE_KEYS)


def split_dataset(
    workspace: Workspace, name: str, size: float, seed: int, names: tuple[str, str], *, skip_broken: bool = False
) -> tuple[int, int]:
    """Write the rows of `name` as two datasets, one to train on and one held back; how many rows each has.

    `size` and `seed` mean what they mean in a run, so both hold back the same rows. The rows keep all their columns.
    Raises DataError when a new name or file is taken, before anything is written.
    """
    entry = find_entry(load_registry(workspace), name)
    rows = [value for _, value in _values(workspace, entry, skip_broken)]
    _free(workspace, names)
    parts = split(rows, size, seed)
    for new, part in zip(names, parts, strict=True):
        _write(workspace, new, part, _settings(workspace, entry))
    return len(parts[0]), len(parts[1])


def clean_dataset(workspace: Workspace, name: str, without: frozenset[int], new: str) -> int:
    """Write the rows of `name` as dataset `new`, those `without` (numbers of a check's report) left out; how many."""
    entry = find_entry(load_registry(workspace), name)
    _free(workspace, (new,))
    rows = (_value(raw.value, raw.plain)
            for number, raw in enumerate(stream_raw(workspace, entry))
            if number not in without and not isinstance(raw, BadRow))  # fmt: skip
    return _write(workspace, new, rows, _settings(workspace, entry))


def convert_dataset(
    workspace: Workspace, name: str, formatting: str, new: str, *, skip_broken: bool = False, ending: str = ".jsonl"
) -> int:
    """Write the rows of `name` in another format as dataset `new`; how many. Placeholders are written filled in.

    Raises DataError for the first row that the format cannot hold.
    """
    _free(workspace, (new,), ending)
    examples = _examples(workspace, find_entry(load_registry(workspace), name), skip_broken)
    return _write_examples(workspace, new, examples, formatting, ending)


def merge_datasets(
    workspace: Workspace,
    weights: Sequence[tuple[str, float]],
    formatting: str,
    seed: int,
    new: str,
    *,
    skip_broken: bool = False,
) -> int:
    """Mix datasets into one, in an order drawn by `seed`; how many rows.

    A dataset of weight 2 comes twice, one of 0.5 with half its rows. Raises DataError for a weight that is not above
    0 and for datasets of different kinds: preferences do not mix with conversations.
    """
    registry, draw, mixed = load_registry(workspace), random.Random(seed), list[Example]()
    _free(workspace, (new,))
    for name, weight in weights:
        if not 0 < weight <= 1000:
            raise DataError(f"The weight of {name!r} must lie above 0 and be at most 1000, but is {weight:g}.")
        rows = list(_examples(workspace, find_entry(registry, name), skip_broken))
        whole, rest = divmod(round(weight * len(rows)), max(1, len(rows)))
        mixed += rows * whole + draw.sample(rows, rest)
    kinds = {"chat" if example.kind == "tools" else example.kind for example in mixed}
    if len(kinds) > 1:
        raise DataError(f"Rows of different kinds do not mix: {', '.join(sorted(kinds))}. Choose datasets of one kind.")
    draw.shuffle(mixed)
    return _write_examples(workspace, new, iter(mixed), formatting, ".jsonl")


def _values(workspace: Workspace, entry: DatasetEntry, skip_broken: bool) -> Iterator[tuple[Example, Values]]:
    """Each whole row, read and raw. A broken one raises DataError with its place, or is left out."""
    for raw in stream_raw(workspace, entry):
        row = raw if isinstance(raw, BadRow) else example_of(raw, entry)
        if isinstance(row, BadRow) or isinstance(raw, BadRow):
            if not skip_broken:
                raise DataError(f"{row} Correct it, or leave broken rows out (--skip-broken).")
            continue
        yield row, _value(raw.value, raw.plain)


def _examples(workspace: Workspace, entry: DatasetEntry, skip_broken: bool) -> Iterator[Example]:
    return (example for example, _ in _values(workspace, entry, skip_broken))


def _value(value: Any, plain: bool) -> Values:
    return {"text": value} if plain else cast("Values", value)


def _write_examples(workspace: Workspace, new: str, examples: Iterator[Example], formatting: str, ending: str) -> int:
    first = next(examples, None)
    if first is None:
        raise DataError(f"There is no row to write into {new!r}.")
    rows = (as_row(example, formatting) for example in chain([first], examples))
    return _write(workspace, new, rows, entry_for("", formatting, first), ending)


def _write(workspace: Workspace, new: str, rows: Iterable[Values], value: Values, ending: str = ".jsonl") -> int:
    path = _file(workspace, new, ending)
    count = write_rows(path, rows)
    save_entry(workspace, new, {**value, "file_name": path.name})
    return count


def _settings(workspace: Workspace, entry: DatasetEntry) -> Values:
    """The entry as it stands in the registry, for a file with the same columns; what made a choice of rows is left."""
    lines = kind_of(files_of(locate(workspace, entry), entry.name)[0]) == "txt"
    for path in registry_files(workspace):
        value = read_tree(path).get(entry.name)
        if isinstance(value, dict):
            plain = {"formatting": "text", "columns": None} if lines else {}
            return {**cast("Values", value), **dict.fromkeys(OF_ONE_FILE), **plain}
    return {}


def _free(workspace: Workspace, names: Sequence[str], ending: str = ".jsonl") -> None:
    registry = load_registry(workspace)
    if len(set(names)) < len(names):
        raise DataError(f"The new datasets need names of their own: {', '.join(names)}.")
    for name in names:
        path = _file(workspace, name, ending)
        if name in registry or path.exists():
            raise DataError(f"There is a dataset or a file {path.name!r} already. Choose another name than {name!r}.")


def _file(workspace: Workspace, name: str, ending: str) -> Path:
    if not name or name.startswith(".") or not all(sign.isalnum() or sign in "-_." for sign in name):
        raise DataError(f"{name!r} cannot be a name: use letters, digits, - _ and a dot, and do not begin with a dot.")
    return workspace.resolve(str(workspace.data / f"{name}{ending}"))
