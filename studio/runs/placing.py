"""Putting a run's folder in its place: its name, the room on the disk, a folder that appears whole or not at all."""

from __future__ import annotations

import errno
import re
import secrets
import shutil
from pathlib import Path

from studio.runs.errors import BadName, DiskFull, RunExists
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec

MINIMUM_FREE_BYTES = 256 * 1024 * 1024
"""Free disk space without which no run begins: about one adapter with its optimizer."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OWN_FILES = "studio.db"  # the database, its companions and copies lie in the same folder


def check_name(name: str) -> None:
    """Raise BadName unless `name` may be a run's folder."""
    if not _NAME.fullmatch(name):
        raise BadName(
            f"{name!r} cannot be a run's name. Use 1 to 100 letters, digits, dots, hyphens and underscores, beginning"
            " with a letter or digit."
        )
    if name.startswith(_OWN_FILES):
        raise BadName(f"{name!r} cannot be a run's name: the job database has it. Choose another.")


def check_room(saves: Path) -> None:
    """Raise DiskFull when a run could not even begin."""
    free = shutil.disk_usage(saves).free
    if free < MINIMUM_FREE_BYTES:
        raise DiskFull(
            f"Only {free / 2**20:,.0f} MiB are free on the disk of {saves}, and a run needs at least"
            f" {MINIMUM_FREE_BYTES / 2**20:,.0f} MiB. Remove old runs or their checkpoints, or choose a workspace on"
            " another disk."
        )


def free_name(saves: Path, name: str) -> str:
    """`name`, or the first of name-2, name-3 … that no folder has."""
    number, candidate = 1, name
    while (saves / candidate).exists():
        number += 1
        candidate = f"{name[: 99 - len(str(number))]}-{number}"
    return candidate


def create(saves: Path, job: JobSpec, config_text: str, *, replace: bool) -> None:
    """Make the run's folder beside its place, then rename it there; with `replace` the old one is deleted afterwards.

    Raises RunExists when the place is taken, OSError when the disk refuses; the old folder then stands as before.
    """
    place = saves / job.name
    draft = saves / f".new-{job.name}-{secrets.token_hex(4)}"
    aside = saves / f".replaced-{job.name}-{secrets.token_hex(4)}"
    try:
        draft.mkdir()
        RunFolder(draft).write_config(config_text)
        RunFolder(draft).write_job(job)
        RunFolder(draft).lock_file.touch()
        if replace and place.exists():
            place.rename(aside)
        if place.exists():
            raise RunExists(taken(job.name))
        draft.rename(place)
    except (OSError, RunExists) as error:
        shutil.rmtree(draft, ignore_errors=True)
        if aside.exists() and not place.exists():
            aside.rename(place)
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise RunExists(taken(job.name)) from error  # another process was faster
        raise
    shutil.rmtree(aside, ignore_errors=True)


def discard(folder: RunFolder) -> None:
    """Take the folder out of sight in one step, then delete it. Raises OSError."""
    hidden = folder.path.with_name(f".removed-{folder.name}-{secrets.token_hex(4)}")
    folder.path.rename(hidden)
    shutil.rmtree(hidden)


def taken(name: str) -> str:
    """What to say when a folder of that name is there: the three ways on."""
    return (
        f"A run named {name!r} exists already. Resume it, give the new run another name, or replace it (its files are"
        " then deleted)."
    )
