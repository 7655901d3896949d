"""What an attempt's end means for the row, the leases and the queue; the shim settles, or reconcile in its place."""

from __future__ import annotations

import time
from dataclasses import replace

from studio.runs.checkpoints import newest_complete
from studio.runs.endings import EXIT_STOPPED, Ending, ending, lost, never_started
from studio.runs.folder import RunFolder
from studio.runs.processes import end_leftovers
from studio.runs.records import End
from studio.runs.states import ACTIVE, State
from studio.runs.store import Job, Store


def settle(store: Store, job: Job, folder: RunFolder, end: End) -> bool:
    """Bring the row in line with `end`; the caller holds the folder's lock. False when another has done so.

    A stop that was asked for as a pause sends the job to the end of the queue, held. Raises StoreError, OSError.
    """
    if end.state is State.STOPPED and folder.request().requeue:
        return send_back(store, job, folder)
    state = end.state or State.LOST
    return store.finish(job.id, job.attempt, state, end.time, end.cause, end.advice)


def send_back(store: Store, job: Job, folder: RunFolder) -> bool:
    """Return an active job to the queue, held, to go on from its newest complete checkpoint."""
    checkpoint = newest_complete(folder)
    name = checkpoint.name if checkpoint else None
    attempt = job.attempt + 1
    folder.write_job(replace(folder.job(), attempt=attempt, held=True, resume_from=name, devices=()))
    where = name or "the beginning: there is no complete checkpoint yet"
    return store.requeue(job.id, attempt, ACTIVE, held=True, notice=f"Paused; resume goes on from {where}.")


def conclude(store: Store, job: Job, folder: RunFolder) -> bool:
    """Settle an active row whose lock is free and now ours: nothing of the run is alive and its shim settled nothing.

    What the shim wrote counts; else what the worker said last; else the run is lost. Raises StoreError, OSError.
    """
    if not folder.path.is_dir():
        advice = "Nothing of it is left; start it anew."
        return store.finish(job.id, job.attempt, State.LOST, time.time(), "The run's folder was removed.", advice)
    end_leftovers(folder)  # ranks that do not carry the lock and would keep the device busy
    end = folder.end()
    if end.state is None or end.attempt != job.attempt:
        how = _guess(job, folder)
        end = End(how.state, job.attempt, cause=how.cause, advice=how.advice, kind=how.kind, time=time.time())
        folder.write_end(end)
    return settle(store, job, folder, end)


def _guess(job: Job, folder: RunFolder) -> Ending:
    """How it must have ended, by what it left behind."""
    status, request = folder.status(), folder.request()
    if status.failure is not None:
        return ending(1, failure=status.failure)
    if status.phase == "finished":
        return ending(0)
    if status.phase == "stopped":
        return ending(EXIT_STOPPED, request=request)
    if request.action == "kill":
        return ending(-9, request=request)
    if folder.processes().attempt != job.attempt:
        return never_started(folder.attempt_log_tail())
    return lost(folder.attempt_log_tail())
