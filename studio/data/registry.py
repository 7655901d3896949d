"""The dataset registry: `dataset_info.json` in LLaMA-Factory's format, read into typed entries."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from studio.config.workspace import OutsideWorkspace, Workspace
from studio.data.examples import DataError

Formatting = Literal["alpaca", "sharegpt", "openai", "text"]
FORMATTINGS: tuple[str, ...] = get_args(Formatting)

REMOTE_KEYS = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")

# Names of the columns and tags when the entry does not name them. LLaMA-Factory drops all defaults as soon as an
# entry names one column; here a default holds until it is overwritten.
DEFAULT_COLUMNS: Mapping[str, str] = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "history": "history",
    "messages": "conversations",
    "system": "system",
    "text": "text",
}
DEFAULT_TAGS: Mapping[str, str] = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
OPENAI_COLUMNS: Mapping[str, str] = {**DEFAULT_COLUMNS, "messages": "messages"}
OPENAI_TAGS: Mapping[str, str] = {
    **DEFAULT_TAGS,
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
}


@dataclass(frozen=True)
class DatasetEntry:
    """One dataset of the registry, defaults filled in.

    `named_columns` are those that the entry itself names; `fill` holds the values of placeholders such as {{name}}.
    """

    name: str
    file_name: str | None = None
    formatting: Formatting = "alpaca"
    ranking: bool = False
    subset: str | None = None
    split: str = "train"
    folder: str | None = None
    num_samples: int | None = None
    columns: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_COLUMNS))
    tags: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_TAGS))
    named_columns: frozenset[str] = frozenset()
    remote: str | None = None
    fill: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class BrokenEntry:
    """An entry that cannot be understood: it stays in the list, with the reason, instead of vanishing."""

    name: str
    reason: str


Registry = Mapping[str, DatasetEntry | BrokenEntry]


def load_registry(workspace: Workspace) -> Registry:
    """Every entry of the workspace's registry in its order; a missing registry has no entries.

    Raises DataError when the file is no JSON object.
    """
    path = workspace.registry
    if not path.is_file():
        return {}
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path.name} is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path.name} is not UTF-8 text. Save it as UTF-8.") from None
    if not isinstance(tree, dict):
        raise DataError(f"{path.name} must hold an object of dataset names, but holds a {type(tree).__name__}.")
    entries = cast("dict[str, Any]", tree)
    return {name: read_entry(name, value) for name, value in entries.items()}


def find_entry(registry: Registry, name: str) -> DatasetEntry:
    """The entry called `name`. Raises DataError for an unknown one, naming the nearest, and for a broken one."""
    entry = registry.get(name)
    if isinstance(entry, BrokenEntry):
        raise DataError(f"The dataset {name!r} in dataset_info.json is broken: {entry.reason}")
    if entry is not None:
        return entry
    if not registry:
        raise DataError(f"There is no dataset {name!r}: dataset_info.json is missing or empty. List the dataset there.")
    near = difflib.get_close_matches(name, registry, n=1)
    guess = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(registry)}."
    raise DataError(f"There is no dataset {name!r} in dataset_info.json. {guess}")


def read_entry(name: str, value: Any) -> DatasetEntry | BrokenEntry:
    """One entry from its JSON value; never raises, what is wrong becomes a BrokenEntry."""
    try:
        return _entry(name, value)
    except DataError as error:
        return BrokenEntry(name, str(error))


def locate(workspace: Workspace, entry: DatasetEntry) -> Path:
    """The file of an entry: looked for in the workspace's data folder, then beside the registry.

    Raises DataError when it is not there, lies outside the workspace or is not on this machine at all.
    """
    if entry.file_name is None:
        raise DataError(
            f"The dataset {entry.name!r} comes from {entry.remote}. Only local files can be read so far: download it "
            "into data/ and name it by file_name."
        )
    candidates = (str(workspace.data / entry.file_name), entry.file_name)
    try:
        paths = [workspace.resolve(candidate) for candidate in candidates]
    except OutsideWorkspace as error:
        raise DataError(f"The file of dataset {entry.name!r} may not be read: {error}") from None
    for path in paths:
        if path.is_file():
            return path
    if any(path.is_dir() for path in paths):
        raise DataError(f"{entry.file_name} is a folder. Folders cannot be read so far: name one file of it.")
    raise DataError(
        f"The file {entry.file_name} of dataset {entry.name!r} is neither in {workspace.data} nor in {workspace.root}. "
        "Put it there or correct file_name in dataset_info.json."
    )


def _entry(name: str, value: Any) -> DatasetEntry:
    if not isinstance(value, dict):
        raise DataError("an entry must be an object with a file_name.")
    raw = cast("dict[str, Any]", value)
    formatting = raw.get("formatting", "alpaca")
    if formatting not in FORMATTINGS:
        raise DataError(f"formatting {formatting!r} is unknown. Choose one of: {', '.join(FORMATTINGS)}.")
    remote = next((f"{key} {raw[key]}" for key in REMOTE_KEYS if raw.get(key)), None)
    file_name = _text(raw, "file_name")
    if file_name is None and remote is None:
        raise DataError("it names no file_name.")
    openai = formatting == "openai"
    columns = _names(raw, "columns")
    return DatasetEntry(
        name=name,
        file_name=file_name,
        formatting=formatting,
        ranking=_flag(raw, "ranking"),
        subset=_text(raw, "subset"),
        split=_text(raw, "split") or "train",
        folder=_text(raw, "folder"),
        num_samples=_count(raw, "num_samples"),
        columns={**(OPENAI_COLUMNS if openai else DEFAULT_COLUMNS), **columns},
        tags={**(OPENAI_TAGS if openai else DEFAULT_TAGS), **_names(raw, "tags")},
        named_columns=frozenset(columns),
        remote=remote,
        fill=_names(raw, "fill"),
    )


def _text(raw: Mapping[str, Any], key: str) -> str | None:
    value = raw.get(key)
    if value is None or isinstance(value, str):
        return value
    raise DataError(f"{key} must be text, but is {value!r}.")


def _flag(raw: Mapping[str, Any], key: str) -> bool:
    value = raw.get(key, False)
    if isinstance(value, bool):
        return value
    raise DataError(f"{key} must be true or false, but is {value!r}.")


def _count(raw: Mapping[str, Any], key: str) -> int | None:
    value = raw.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise DataError(f"{key} must be a whole number above 0, but is {value!r}.")


def _names(raw: Mapping[str, Any], key: str) -> dict[str, str]:
    value = raw.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DataError(f"{key} must be an object of names, but is {value!r}.")
    pairs = cast("dict[str, Any]", value)
    wrong = next((inner for inner, name in pairs.items() if name is not None and not isinstance(name, str)), None)
    if wrong is not None:
        raise DataError(f"{key}.{wrong} must be text, but is {pairs[wrong]!r}.")
    # A null means "this column does not exist here": the default holds, and a row without it is read without it.
    return {inner: name for inner, name in pairs.items() if name is not None}
