"""From run folders to rows: rebuilds a damaged database, and takes in folders that the database does not know."""

from __future__ import annotations

import fcntl
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from studio.config.workspace import Workspace
from studio.runs.checkpoints import newest_complete
from studio.runs.endings import lost
from studio.runs.errors import CorruptDatabase
from studio.runs.folder import RunFolder
from studio.runs.lock import is_held
from studio.runs.records import JobSpec
from studio.runs.states import State
from studio.runs.store import Job, Store

UNKNOWN_KIND = "train"
"""What a folder with a config but without a readable job.json is taken for."""


def open_store(workspace: Workspace) -> Store:
    """The workspace's database; a damaged one is moved aside and rebuilt from the run folders.

    One process at a time opens, so none sees a half-built database. Raises StoreError, OSError.
    """
    with (workspace.saves / ".opening").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        try:
            store = Store(workspace.database)
            store.check()
        except CorruptDatabase:
            store = _rebuild(workspace)
        return store


def reconcile_folders(workspace: Workspace, store: Store) -> None:
    """Add rows for folders without one, and drop rows of jobs that are not active and have no folder any more."""
    jobs = {job.name: job for job in store.jobs()}
    names = {path.name for path in workspace.saves.iterdir()}
    for folder in _runs_among(workspace.saves, names - jobs.keys()):
        _adopt(store, folder, {job.id for job in jobs.values()})
    for name in jobs.keys() - names:
        if not (workspace.saves / name).exists():
            store.remove(jobs[name].id)


def run_folders(saves: Path) -> Iterator[RunFolder]:
    """The visible folders under `saves` that hold a job or at least a config."""
    yield from _runs_among(saves, {path.name for path in saves.iterdir()})


def _runs_among(saves: Path, names: Iterable[str]) -> Iterator[RunFolder]:
    for name in sorted(names):
        folder = RunFolder(saves / name)
        if not name.startswith(".") and (folder.job_file.is_file() or folder.config_file.is_file()):
            yield folder


def _rebuild(workspace: Workspace) -> Store:
    _move_aside(workspace.database)
    store = Store(workspace.database)
    for job in sorted(map(_described, run_folders(workspace.saves)), key=lambda job: job.created):
        store.add(job)
    return store


def _move_aside(database: Path) -> None:
    stamp = f"corrupt-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    for ending in ("", "-wal", "-shm"):
        file = database.with_name(database.name + ending)
        if file.exists():
            file.rename(database.with_name(f"{database.name}.{stamp}{ending}"))


def _adopt(store: Store, folder: RunFolder, known: set[str]) -> None:
    """A row for one folder; a copy of another run's folder gets an id of its own."""
    spec = folder.job()
    if not is_held(folder) and (spec.id in known or (spec.id and spec.name != folder.name)):
        folder.write_job(replace(spec, id=secrets.token_hex(6), name=folder.name))
    store.add(_described(folder))


def _described(folder: RunFolder) -> Job:
    """The row that the folder's own records tell of; an unreadable job.json is put in order on the way."""
    spec = folder.job()
    if not spec.id:
        spec = _mend(folder)
    state, started, ended, cause, advice = _history(folder, spec)
    return Job(
        id=spec.id,
        name=folder.name,
        kind=spec.kind or UNKNOWN_KIND,
        state=state,
        created=spec.created,
        held=spec.held and state is State.QUEUED,
        devices_wanted=spec.devices_wanted,
        devices=spec.devices,
        started=started,
        ended=ended,
        cause=cause,
        advice=advice,
        attempt=spec.attempt,
    )


def _history(folder: RunFolder, spec: JobSpec) -> tuple[State, float | None, float | None, str, str]:
    """State, start, end, cause and advice."""
    processes, end = folder.processes(), folder.end()
    started = processes.shim_created or None
    if is_held(folder):
        return State.RUNNING, started, None, "", ""
    if end.state is not None and end.attempt >= spec.attempt:
        return end.state, started, end.time, end.cause, end.advice
    if processes.attempt < spec.attempt and spec.worker:
        return State.QUEUED, None, None, "", ""
    how = lost(folder.attempt_log_tail())
    return how.state, started, time.time(), how.cause, how.advice


def _mend(folder: RunFolder) -> JobSpec:
    """A job.json for a folder that has none to read."""
    end, processes = folder.end(), folder.processes()
    checkpoint = newest_complete(folder)
    spec = JobSpec(
        id=secrets.token_hex(6),
        name=folder.name,
        kind=UNKNOWN_KIND,
        created=folder.path.stat().st_mtime,
        resume_from=checkpoint.name if checkpoint else None,
        attempt=max(1, end.attempt, processes.attempt),
    )
    folder.write_job(spec)
    return spec
