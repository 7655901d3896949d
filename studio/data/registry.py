"""The dataset registry: `dataset_info.json` in LLaMA-Factory's format, read into typed entries."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from studio.config.workspace import OutsideWorkspace, Workspace
from studio.data.examples import DataError
from studio.data.fetched import NotFetched, fetched_folder, is_fetched, refusal

Formatting = Literal["alpaca", "sharegpt", "openai", "text", "prompt"]
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
    "tools": "tools",
    "chosen": "chosen",
    "rejected": "rejected",
    "text": "text",
}
# Columns without a default: a row has pictures or a judgement only where the entry says so.
NAMED_ONLY = ("images", "videos", "audios", "kto_tag")
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
    "observation_tag": "tool",
}
PROMPT_COLUMNS: Mapping[str, str] = {**OPENAI_COLUMNS, "prompt": "prompt"}


@dataclass(frozen=True)
class DatasetEntry:
    """One dataset of the registry, defaults filled in.

    `named_columns` are those that the entry itself names; `fill` holds the values of placeholders such as {{name}};
    `sources` are the places other than a local file; `notes` say what in the entry is passed over. `home` is the
    folder whose data/ the files are looked for in, None for the workspace.
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
    sources: Mapping[str, str] = field(default_factory=dict[str, str])
    fill: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()
    home: Path | None = None

    @property
    def remote(self) -> str | None:
        """The first place other than a local file, as a message names it."""
        return next((f"{key} {value}" for key, value in self.sources.items()), None)


@dataclass(frozen=True)
class BrokenEntry:
    """An entry that cannot be understood: it stays in the list, with the reason, instead of vanishing."""

    name: str
    reason: str


Registry = Mapping[str, DatasetEntry | BrokenEntry]


def registry_files(workspace: Workspace) -> list[Path]:
    """The registries that are used, the one that wins first: the workspace's own, that of a LLaMA-Factory data folder
    in it, and those of the folders that the operator allowed, which stay where they are."""
    roots = (workspace.root, *workspace.allowed)
    found = [root / folder / workspace.registry.name for root in roots for folder in ("", "data")]
    return list(dict.fromkeys(path for path in found if path.is_file()))


def load_registry(workspace: Workspace) -> Registry:
    """Every entry of the workspace in its order; a missing registry has no entries.

    Where data/ brings a dataset_info.json of its own, as in LLaMA-Factory, its entries follow, then those of allowed
    folders; of two with one name the first holds. Raises DataError when a registry is no JSON object.
    """
    entries: dict[str, DatasetEntry | BrokenEntry] = {}
    for path in registry_files(workspace):
        home = _home(workspace, path)
        for name, value in read_tree(path).items():
            entry = read_entry(name, value)
            entries.setdefault(name, replace(entry, home=home) if isinstance(entry, DatasetEntry) and home else entry)
    return entries


def _home(workspace: Workspace, registry: Path) -> Path | None:
    """The folder that a registry belongs to, None for the workspace's own."""
    folder = registry.parent
    if folder in (workspace.root, workspace.data):
        return None
    return folder if folder in workspace.allowed else folder.parent


def read_tree(path: Path) -> dict[str, Any]:
    """The registry as it stands in the file, unknown keys and order kept. Raises DataError when it is no object."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path.name} is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path.name} is not UTF-8 text. Save it as UTF-8.") from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read: {error}") from None
    if not isinstance(tree, dict):
        raise DataError(f"{path.name} must hold an object of dataset names, but holds a {type(tree).__name__}.")
    return cast("dict[str, Any]", tree)


def entry_tree(workspace: Workspace, name: str) -> dict[str, Any]:
    """An entry as it stands in its registry, unknown keys too; empty when there is none. Raises DataError for a
    registry that cannot be read."""
    for path in registry_files(workspace):
        value = read_tree(path).get(name)
        if isinstance(value, dict):
            return cast("dict[str, Any]", value)
    return {}


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
    """The file or folder of an entry: looked for in the data folder, then beside the registry, then among what was
    fetched.

    Raises DataError when it is not there or lies outside the workspace, NotFetched when it only has to be fetched.
    """
    path = _local(workspace, entry)
    if path is not None:
        return path
    if not entry.sources:
        root = entry.home or workspace.root
        raise DataError(
            f"The file {entry.file_name} of dataset {entry.name!r} is neither in {root / 'data'} nor in {root}. "
            "Put it there or correct file_name in dataset_info.json."
        )
    reason = refusal(entry.name, entry.sources)
    if reason:
        raise DataError(reason)
    folder = copy_of(workspace, entry)
    if is_fetched(folder):
        return folder
    raise NotFetched(
        f"The dataset {entry.name!r} comes from {entry.remote} and is not on this machine yet. Fetch it: "
        f"studio data fetch {shlex.quote(entry.name)}"
    )


def copy_of(workspace: Workspace, entry: DatasetEntry) -> Path:
    """The folder that holds, or will hold, what was fetched of an entry."""
    return fetched_folder(workspace, entry.sources, entry.subset, entry.split, entry.folder)


def _local(workspace: Workspace, entry: DatasetEntry) -> Path | None:
    if entry.file_name is None:
        return None
    root = entry.home or workspace.root
    try:
        paths = [workspace.resolve(str(folder / entry.file_name)) for folder in (root / "data", root)]
    except OutsideWorkspace as error:
        raise DataError(f"The file of dataset {entry.name!r} may not be read: {error}") from None
    except ValueError as error:  # a NUL character in the name
        raise DataError(f"The file name {entry.file_name!r} of dataset {entry.name!r} is no path: {error}.") from None
    return next((path for path in paths if path.exists()), None)


def _entry(name: str, value: Any) -> DatasetEntry:
    if not isinstance(value, dict):
        raise DataError("an entry must be an object with a file_name.")
    raw = cast("dict[str, Any]", value)
    formatting = raw.get("formatting", "alpaca")
    if formatting not in FORMATTINGS:
        raise DataError(f"formatting {formatting!r} is unknown. Choose one of: {', '.join(FORMATTINGS)}.")
    sources = {key: place for key in REMOTE_KEYS if (place := _text(raw, key))}
    file_name = _text(raw, "file_name")
    if not file_name and not sources:
        raise DataError("it names no file_name.")
    columns, tags = _names(raw, "columns"), _names(raw, "tags")
    default_columns, default_tags = _defaults(formatting)
    known_columns = (*default_columns, *NAMED_ONLY)
    return DatasetEntry(
        name=name,
        file_name=file_name or None,
        formatting=formatting,
        ranking=_flag(raw, "ranking"),
        subset=_text(raw, "subset"),
        split=_text(raw, "split") or "train",
        folder=_text(raw, "folder"),
        num_samples=_count(raw, "num_samples"),
        columns={**default_columns, **columns},
        tags={**default_tags, **tags},
        named_columns=frozenset(columns),
        sources=sources,
        fill=_names(raw, "fill"),
        notes=(*_strangers("columns", columns, known_columns), *_strangers("tags", tags, tuple(default_tags))),
    )


def _defaults(formatting: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    if formatting == "prompt":
        return PROMPT_COLUMNS, OPENAI_TAGS
    return (OPENAI_COLUMNS, OPENAI_TAGS) if formatting == "openai" else (DEFAULT_COLUMNS, DEFAULT_TAGS)


def _strangers(section: str, given: Mapping[str, str], known: tuple[str, ...]) -> tuple[str, ...]:
    notes: list[str] = []
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            guess = f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(known)}."
            notes.append(f"{section}.{key} is passed over: it is not known. {guess}")
    return tuple(notes)


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
