"""What tokenized data is made of, as one short name: when any part of it changes, the name does."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import studio
from studio.config.workspace import Workspace
from studio.data.files import files_of
from studio.data.reading import source_of
from studio.data.registry import DatasetEntry, find_entry, load_registry, locate
from studio.tasks.token_cache import file_digest
from studio.tasks.tokenize import Settings

# Packages of which another version may make other tokens of the same rows.
PACKAGES = ("transformers", "tokenizers", "jinja2", "pyarrow")

# What of the plan's data arguments chooses rows; the number of processes does not.
CHOOSING = ("datasets", "validation_datasets", "validation_size", "max_samples", "seed", "kinds", "apart")


def token_key(
    workspace: Workspace, arguments: Mapping[str, Any], tokenizer: Any, template: str, settings: Settings
) -> str:
    """The name of the tokens of the plan's data arguments. Reads every data file once. Raises DataError."""
    registry = load_registry(workspace)
    names = dict.fromkeys([*arguments["datasets"], *arguments["validation_datasets"]])
    parts = {
        "code": _code(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "datasets": {name: _dataset(workspace, find_entry(registry, name)) for name in names},
        "chosen": {name: arguments[name] for name in CHOOSING},
        "tokenizer": _tokenizer(tokenizer),
        "template": template,
        "today": date.today().isoformat() if "strftime_now" in template else "",
        "settings": asdict(settings),
    }
    text = json.dumps(parts, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def _dataset(workspace: Workspace, entry: DatasetEntry) -> dict[str, Any]:
    path = locate(workspace, entry)
    files = files_of(path, source_of(workspace, path))
    return {"entry": asdict(entry), "files": [[file.name, file_digest(file)] for file in files]}


def _plain(value: Any) -> Any:
    """Sets and paths, for which JSON has no form."""
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _tokenizer(tokenizer: Any) -> dict[str, Any]:
    """Everything that the tokenizer does is in its backend; the names of its special tokens are for the template."""
    return {
        "class": type(tokenizer).__qualname__,
        "backend": hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        "specials": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "split_special_tokens": tokenizer.split_special_tokens,
    }


@lru_cache
def _code() -> str:
    """The code that reads, renders and tokenizes: all of both folders, so that none is ever forgotten."""
    root, digest = Path(studio.__file__).parent, hashlib.sha256()
    for folder in ("data", "tasks"):
        for path in sorted((root / folder).glob("*.py")):
            digest.update(f"{folder}/{path.name} {file_digest(path)}\n".encode())
    return digest.hexdigest()
