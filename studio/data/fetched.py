"""Where the copy of a dataset from a hub or a cloud lies, once it was fetched, and what is known of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from studio.config.workspace import Workspace
from studio.data.examples import DataError

NOTE = ".source.json"  # written last: a folder with it is whole
FETCHABLE = ("hf_hub_url", "ms_hub_url", "cloud_file_name")


class NotFetched(DataError):
    """The dataset can be had, but is not on this machine yet."""


def fetched_folder(
    workspace: Workspace, sources: Mapping[str, str], subset: str | None, split: str, folder: str | None
) -> Path:
    """Where the copy lies or will lie: one folder for each place, subset, split and folder."""
    places = {key: sources[key] for key in FETCHABLE if key in sources}
    asked = json.dumps([places, subset, split, folder], sort_keys=True)
    place = next(iter(places.values()), "").rpartition("://")[2]
    words = "".join(sign if sign.isalnum() else "-" for sign in place)[-60:].strip("-")
    return workspace.cache / "fetched" / f"{words}-{hashlib.blake2b(asked.encode(), digest_size=6).hexdigest()}"


def is_fetched(folder: Path) -> bool:
    """Whether the copy is there and whole."""
    return (folder / NOTE).is_file()


def read_note(folder: Path) -> Mapping[str, Any]:
    """From where, when and in which revision a copy was fetched; empty when there is none."""
    try:
        return cast("Mapping[str, Any]", json.loads((folder / NOTE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def refusal(name: str, sources: Mapping[str, str]) -> str:
    """Why a dataset with these sources is never fetched; "" when it can be."""
    if any(key in sources for key in FETCHABLE):
        return ""
    if "script_url" in sources:
        return (
            f"The dataset {name!r} is made by a program of its own (script_url {sources['script_url']}), which is not "
            "run here. Run it yourself, put the file with the rows into data/ and name that by file_name."
        )
    return (
        f"The dataset {name!r} comes from om_hub_url {sources.get('om_hub_url')}, and that hub is not asked here. Name "
        "it by hf_hub_url or ms_hub_url, or download it into data/ and name it by file_name."
    )
