"""Starting queued jobs: lock, claim, spawn the shim; the same code runs in the server, the CLI and the shims."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import studio
from studio.config.workspace import Workspace
from studio.runs.checkpoints import newest_complete, set_aside
from studio.runs.devices import choose, inventory, wanted_names
from studio.runs.environment import RUN_VARIABLE
from studio.runs.folder import RunFolder
from studio.runs.lock import PROBE_SECONDS, acquire
from studio.runs.records import JobSpec
from studio.runs.states import State
from studio.runs.store import Job, Store

SOURCE = Path(studio.__file__).resolve().parent.parent


def start_next(workspace: Workspace, store: Store) -> list[str]:
    """Start every queued job that can start and return their names; any number of processes may call it at once.

    The queue is in order per device: a job that waits for a device keeps those behind it off that device, and off no
    other. A job that cannot be started is failed with the reason. Raises StoreError.
    """
    queue = [job for job in store.queue() if not job.held]
    if not queue:
        return []
    present = [device.name for device in inventory()]
    reserved: set[str] = set()
    started: list[str] = []
    for job in queue:
        if choose(job.devices_wanted, present, reserved | set(store.leases())):
            if _start(workspace, store, job, present, reserved):
                started.append(job.name)
        else:
            reserved.update(wanted_names(job.devices_wanted))
    return started


def _start(workspace: Workspace, store: Store, job: Job, present: Sequence[str], reserved: set[str]) -> bool:
    """Start one job; False when it was not to be had or failed to start."""
    folder = RunFolder(workspace.saves / job.name)
    lock = None
    try:
        lock = acquire(folder, PROBE_SECONDS)
        if lock is None:
            return False
        devices = store.claim(job.id, present, reserved, time.time())
        if not devices:
            return False
        _prepare(folder, job, devices)
        _spawn_shim(workspace, folder, lock)
        return True
    except OSError as error:
        advice = "Check the disk, its free space and the rights on the run's folder, then resume."
        store.change(job.id, State.STARTING, {State.QUEUED})  # where the lock itself could not be had
        store.finish(job.id, job.attempt, State.FAILED, time.time(), f"The run could not be started: {error}.", advice)
        return False
    finally:
        if lock is not None:
            os.close(lock)  # the shim has its own by now


def _prepare(folder: RunFolder, job: Job, devices: tuple[str, ...]) -> None:
    """Write down what the attempt is, and clear away what earlier ones left. Raises OSError."""
    spec = folder.job()
    if not spec.id:
        spec = _mended(folder, job)
    folder.forget_attempt()
    folder.write_job(replace(spec, id=job.id, name=job.name, attempt=job.attempt, devices=devices, held=False))
    if job.attempt > 1:
        set_aside(folder, int(spec.resume_from.rpartition("-")[2]) if spec.resume_from else 0, job.attempt)


def _mended(folder: RunFolder, job: Job) -> JobSpec:
    """A job.json in place of one that cannot be read, from the row."""
    checkpoint = newest_complete(folder) if job.attempt > 1 else None
    return JobSpec(
        kind=job.kind,
        devices_wanted=job.devices_wanted,
        worker=default_worker(),
        created=job.created,
        resume_from=checkpoint.name if checkpoint else None,
    )


def default_worker() -> tuple[str, ...]:
    """The argument list that runs a job of Studio itself."""
    return (sys.executable, "-m", "studio.tasks.entry")


def _spawn_shim(workspace: Workspace, folder: RunFolder, lock: int) -> None:
    """Start the shim in a session of its own, without a pipe to us: it must outlive this process. Raises OSError."""
    argv = [sys.executable, "-m", "studio.runs.shim", str(folder.path), "--lock-fd", str(lock)]
    argv += ["--workspace", str(workspace.root)]
    with folder.log_file.open("ab") as log:
        shim = subprocess.Popen(
            argv,
            cwd=SOURCE,  # so that `-m studio` is found also where Studio is not installed
            env=_without_mark(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
        )
    threading.Thread(target=shim.wait, name=f"reap-{folder.name}", daemon=True).start()


def _without_mark(env: Mapping[str, str]) -> dict[str, str]:
    """A job that starts another must not hand it its own mark."""
    return {name: value for name, value in env.items() if name != RUN_VARIABLE}
