"""Where an export grows and how it gets its name: a hidden draft first, one rename when it is whole and verified."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from studio.tasks.failures import TaskError


def make_draft(place: Path, run: str) -> tuple[Path, Path]:
    """The draft and the scratch folder of a run, empty, beside the place where the export will lie. Raises OSError.

    What an attempt of the same run that was killed has left is removed. An old export that was moved aside by one, and
    nothing put in its place, gets its name back.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = next(iter(place.parent.glob(f".replaced-{place.name}-*")), None)
    if aside is not None and not place.exists():
        aside.rename(place)
    draft, scratch = (place.parent / f".{kind}-{run}" for kind in ("draft", "scratch"))
    for folder in (draft, scratch):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    return draft, scratch


def publish(draft: Path, place: Path, *, overwrite: bool) -> None:
    """Give the draft its name. An old export in that place is moved aside first and removed last.

    Raises TaskError when somebody else has taken the place meanwhile, OSError; the old export then stands as before.
    """
    _sync(draft)
    aside = place.with_name(f".replaced-{place.name}-{secrets.token_hex(4)}")
    if place.exists():
        if not overwrite:
            raise TaskError("destination", f"{place} has appeared meanwhile.", "Choose another destination.folder.")
        place.rename(aside)
    try:
        draft.rename(place)
    except BaseException:  # a request to stop can come here too
        if aside.exists() and not place.exists():
            aside.rename(place)
        raise
    if aside.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Force every file to the disk before the name under which it counts as whole."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
