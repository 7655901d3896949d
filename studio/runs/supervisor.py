"""What can be asked of runs: submit, start, stop, pause, resume, save, move, remove; and keeping the rows true.

A Supervisor has no state of its own: everything is in the run folders and in the database, so any number of servers,
terminals and shims may each have one on the same workspace.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from studio.config.workspace import Workspace
from studio.runs import launch, placing, processes
from studio.runs.adopt import open_store, reconcile_folders
from studio.runs.checkpoints import Checkpoint, checkpoints
from studio.runs.devices import check_wanted, inventory
from studio.runs.errors import CorruptDatabase, NoCheckpoint, NoSuchRun, RunActive, RunError, RunExists, RunNotActive
from studio.runs.folder import RunFolder
from studio.runs.lock import hold
from studio.runs.records import End, JobSpec
from studio.runs.settle import conclude
from studio.runs.states import ACTIVE, ENDED, State
from studio.runs.store import Job, Store

EDIT_SECONDS = 5.0
"""How long a change waits for a shim that is just writing down how its run ended."""

IfExists = Literal["refuse", "rename", "replace", "resume"]


class Supervisor:
    """The one way to runs. Every method may raise RunError: its text says what is wrong and what to do instead."""

    def __init__(
        self,
        workspace: Workspace,
        worker: Sequence[str] | None = None,
        *,
        stop_grace_seconds: float | None = None,
        kill_grace_seconds: float | None = None,
    ) -> None:
        """`worker` is the argument list of jobs submitted here; the graces take the place of the shim's constants."""
        self.workspace = workspace
        self.worker = tuple(worker) if worker is not None else launch.default_worker()
        self._graces = (stop_grace_seconds, kill_grace_seconds)
        with _disk_errors():
            workspace.saves.mkdir(parents=True, exist_ok=True)
            self.store: Store = open_store(workspace)

    # Looking

    def jobs(self) -> list[Job]:
        """All jobs, the oldest first."""
        return self.store.jobs()

    def job(self, name: str) -> Job:
        """The job of that name. Raises NoSuchRun."""
        job = self.store.job(name)
        if job is None:
            raise NoSuchRun(f"There is no run named {name!r}. See `studio jobs list`.")
        return job

    def folder(self, name: str) -> RunFolder:
        """The folder of that run, whether or not it exists. Raises BadName, so no name leads out of saves/."""
        placing.check_name(name)
        return RunFolder(self.workspace.saves / name)

    # Beginning

    def submit(
        self,
        name: str,
        kind: str,
        config_text: str,
        devices_wanted: str = "auto",
        if_exists: IfExists = "refuse",
        hold: bool = False,
        start: bool = True,
    ) -> Job:
        """Put a job into the queue (held with `hold`) and, unless `start` is off, start what can start.

        Raises BadName, BadDevices, DiskFull, and RunExists or RunActive where `if_exists` does not settle it.
        """
        placing.check_name(name)
        check_wanted(devices_wanted, [device.name for device in inventory()])
        with _disk_errors():
            placing.check_room(self.workspace.saves)
            if if_exists == "resume" and self.folder(name).path.exists():
                return self.resume(name, config_text=config_text)
            spec = JobSpec(
                id=secrets.token_hex(6),
                name=name,
                kind=kind,
                devices_wanted=devices_wanted,
                worker=self.worker,
                created=time.time(),
                held=hold,
                stop_grace_seconds=self._graces[0],
                kill_grace_seconds=self._graces[1],
            )
            spec = self._create(spec, config_text, if_exists)
        self.store.add(
            Job(spec.id, spec.name, kind, State.QUEUED, spec.created, held=hold, devices_wanted=devices_wanted)
        )
        if start:
            self.start_next()
        return self.job(spec.name)

    def start_next(self) -> list[Job]:
        """Start every job that can start: the first in the queue for each free device, held ones passed over."""
        return [self.job(name) for name in launch.start_next(self.workspace, self.store)]

    def resume(self, name: str, checkpoint: str | None = None, config_text: str | None = None) -> Job:
        """Queue an ended or held run again, from `checkpoint` (a folder's name) or else the newest complete one.

        The returned job's `notice` says where it goes on; without any complete checkpoint that is the beginning. A new
        config takes the place of the old, which is kept beside it: so a finished run goes on for more epochs.
        Raises RunActive, NoCheckpoint.
        """
        self._conclude(self.job(name))
        with self._at_rest(name) as (job, folder):
            if job.state not in ENDED and not job.held:
                raise RunActive(f"{name} is {job.state}. Stop or pause it before resuming it.")
            chosen, notice = _starting_point(folder, checkpoint)
            if config_text is not None and config_text != folder.config_text():
                folder.exchange_config(config_text)
            attempt = job.attempt + 1
            folder.write_job(
                replace(
                    self._spec(job, folder),
                    worker=self.worker,
                    attempt=attempt,
                    held=False,
                    resume_from=chosen.name if chosen else None,
                )
            )
            self.store.requeue(job.id, attempt, {job.state}, held=False, notice=notice)
        self.start_next()
        return self.job(name)

    # Asking the worker

    def stop(self, name: str) -> Job:
        """At once in the queue; an active run saves a checkpoint at its next step and ends. Raises RunNotActive."""
        return self._stop(name, requeue=False)

    def pause(self, name: str) -> Job:
        """Stop, and return to the end of the queue, held; the device becomes free. Raises RunNotActive."""
        return self._stop(name, requeue=True)

    def kill(self, name: str) -> Job:
        """End an active run now, without saving; works also when its shim is dead. Raises RunNotActive."""
        job = self.job(name)
        if job.state is State.QUEUED:
            return self.stop(name)
        folder = self._active_folder(job)
        with _disk_errors():
            folder.write_request("kill")
        self.store.change(job.id, State.STOPPING, {State.STARTING, State.RUNNING})
        processes.kill(folder)
        return self.job(name)

    def save_now(self, name: str) -> Job:
        """Ask an active run for a checkpoint at its next step. Raises RunNotActive."""
        job = self.job(name)
        folder = self._active_folder(job)
        if folder.request().action in {"stop", "kill"}:
            raise RunNotActive(f"{name} is stopping already, and saves a checkpoint as it does.")
        with _disk_errors():
            folder.write_request("save_now")
        return job

    # Putting in order

    def move(self, name: str, position: int) -> Job:
        """Give a queued job the place `position`, counted from 1. Raises RunActive."""
        job = self.job(name)
        if not self.store.move(job.id, position):
            raise RunActive(f"{name} is {job.state}, so it has no place in the queue.")
        return self.job(name)

    def remove(self, name: str) -> int:
        """Delete a run that is not active, folder and row; the bytes that this freed. Raises RunActive."""
        self._conclude(self.job(name))
        if not self.folder(name).path.exists():
            self.store.remove(self.job(name).id)
            return 0
        with self._at_rest(name) as (job, folder):
            freed = folder.size_bytes()
            placing.discard(folder)
            self.store.remove(job.id)
        return freed

    def reconcile(self) -> list[str]:
        """Make the rows true again and return the names of the runs whose end was found out.

        Active rows whose lock is free are settled, folders without a row get one. A run whose lock is held is never
        touched. Cheap: without active rows it reads one table and lists one folder.
        """
        try:
            with _disk_errors():
                settled = [job.name for job in self.store.jobs(ACTIVE) if self._conclude(job)]
                reconcile_folders(self.workspace, self.store)
        except CorruptDatabase:
            self.store = open_store(self.workspace)
            return self.reconcile()
        if settled:
            self.start_next()
        return settled

    # Underneath

    def _create(self, spec: JobSpec, config_text: str, if_exists: IfExists) -> JobSpec:
        """Make the folder and return the spec under the name that it got."""
        saves = self.workspace.saves
        if if_exists == "replace" and (saves / spec.name).exists():
            self._create_in_place_of(spec, config_text)
            return spec
        while True:
            named = replace(spec, name=placing.free_name(saves, spec.name)) if if_exists == "rename" else spec
            try:
                placing.create(saves, named, config_text, replace=False)
                return named
            except RunExists:
                if if_exists != "rename":
                    raise  # else another process has just taken that name: the next one, then

    def _create_in_place_of(self, spec: JobSpec, config_text: str) -> None:
        """Replace a run, locked meanwhile so that nobody starts it, or a folder that is none. Raises RunActive."""
        saves = self.workspace.saves
        if self.store.job(spec.name) is None:
            reconcile_folders(self.workspace, self.store)
        if self.store.job(spec.name) is None:  # not a run's folder, so nothing can be working on it
            placing.create(saves, spec, config_text, replace=True)
            return
        self._conclude(self.job(spec.name))
        with self._at_rest(spec.name):
            placing.create(saves, spec, config_text, replace=True)

    def _stop(self, name: str, *, requeue: bool) -> Job:
        job = self.job(name)
        if job.state is State.QUEUED and self._leave_queue(job, requeue=requeue):
            return self.job(name)
        job = self.job(name)  # it may have started meanwhile
        folder = self._active_folder(job)
        with _disk_errors():
            folder.write_request("stop", requeue=requeue)
        self.store.change(job.id, State.STOPPING, {State.STARTING, State.RUNNING})
        return self.job(name)

    def _leave_queue(self, job: Job, *, requeue: bool) -> bool:
        """Cancel a queued job, or hold it at the queue's end; False when it is no longer queued."""
        folder, now = self.folder(job.name), time.time()
        with _disk_errors(), hold(folder, EDIT_SECONDS) as ours:
            if not ours:
                return False
            if requeue:
                folder.write_job(replace(self._spec(job, folder), held=True))
                notice = "Paused in the queue."
                return self.store.requeue(job.id, job.attempt, {State.QUEUED}, held=True, notice=notice)
            cause = "Taken out of the queue."
            if cancelled := self.store.cancel(job.id, now, cause):
                folder.write_end(End(State.STOPPED, job.attempt, cause=cause, time=now))
            return cancelled

    def _active_folder(self, job: Job) -> RunFolder:
        if not job.active:
            raise RunNotActive(f"{job.name} is {job.state}, not running.")
        return self.folder(job.name)

    def _spec(self, job: Job, folder: RunFolder) -> JobSpec:
        """job.json, put in order from the row where it cannot be read."""
        spec = folder.job()
        if spec.id:
            return replace(spec, id=job.id, name=job.name)
        return JobSpec(job.id, job.name, job.kind, job.devices_wanted, worker=self.worker, created=job.created)

    def _conclude(self, job: Job) -> bool:
        """Settle one active row whose lock is free; whether this call did."""
        if not job.active:
            return False
        folder = self.folder(job.name)
        with _disk_errors(), hold(folder, wait=0.0) as ours:
            if not ours and folder.path.is_dir():
                return False
            now = self.store.job(job.name)
            if now is None or not now.active or now.attempt != job.attempt:
                return False
            return conclude(self.store, now, folder)

    @contextmanager
    def _at_rest(self, name: str) -> Generator[tuple[Job, RunFolder]]:
        """The row and the folder of a run that nothing works on, locked meanwhile. Raises RunActive, NoSuchRun."""
        folder = self.folder(name)
        before = self.job(name)
        if before.active:
            raise RunActive(_is_active(before))
        with _disk_errors(), hold(folder, EDIT_SECONDS) as ours:
            job = self.job(name)
            if not ours and not folder.path.is_dir():
                raise NoSuchRun(f"The folder of {name}, {folder.path}, is gone. Remove the run, or start it anew.")
            if not ours or job.active:
                raise RunActive(_is_active(job))
            if job.attempt != before.attempt:  # it ran while this call waited for the lock
                raise RunActive(f"{name} was resumed by somebody else just now. Look at it again first.")
            yield job, folder


def _starting_point(folder: RunFolder, wanted: str | None) -> tuple[Checkpoint | None, str]:
    """The checkpoint to go on from and a sentence about it. Raises NoCheckpoint for a missing or incomplete one."""
    every = checkpoints(folder)
    complete = [entry for entry in every if entry.complete]
    if wanted is not None:
        found = next((entry for entry in every if entry.name == wanted), None)
        if found is None or not found.complete:
            why = "does not exist" if found is None else f"is incomplete ({found.reason})"
            others = ", ".join(entry.name for entry in complete) or "none, so resume without naming one"
            raise NoCheckpoint(f"{wanted} of {folder.name} {why}. Complete ones: {others}.")
        return found, f"Goes on from {found.name}."
    broken = [f"{entry.name} is incomplete ({entry.reason})" for entry in every if not entry.complete]
    passed_over = f" {'; '.join(broken)}." if broken else ""
    if not complete and folder.job().kind not in ("train", ""):
        return None, "Goes on with what its folder holds."
    if not complete:
        return None, f"There is no complete checkpoint, so it starts from the beginning.{passed_over}"
    return complete[-1], f"Goes on from {complete[-1].name}.{passed_over}"


def _is_active(job: Job) -> str:
    return f"{job.name} is {job.state}. Stop it first, and wait until it has ended."


@contextmanager
def _disk_errors() -> Generator[None]:
    """Turn what the disk refuses into a sentence."""
    try:
        yield
    except OSError as error:
        raise RunError(f"The disk refused: {error}. Check its free space and your rights on saves/.") from error
