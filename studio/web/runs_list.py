"""The list of runs as the page shows it: state, progress and a small curve of the loss."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from studio.runs.folder import RunFolder
from studio.runs.states import State
from studio.runs.store import Job
from studio.web.curve_cache import CurveCache

# What a person wants to see first: what runs, what waits, then the newest.
_ORDER = {State.RUNNING: 0, State.STOPPING: 0, State.STARTING: 0, State.QUEUED: 1}


def overview(jobs: list[Job], folders: dict[str, RunFolder], curves: CurveCache) -> dict[str, Any]:
    """Every run in a few facts, and a version that changes when one of them does."""
    runs = [_row(job, folders[job.name], curves) for job in sorted(jobs, key=_rank)]
    version = hashlib.sha1(json.dumps(runs).encode(), usedforsecurity=False).hexdigest()
    return {"version": version, "runs": runs}


def _rank(job: Job) -> tuple[int, float]:
    waiting = job.state is State.QUEUED
    return _ORDER.get(job.state, 2), float(job.position) if waiting else -job.created


def _row(job: Job, folder: RunFolder, curves: CurveCache) -> dict[str, Any]:
    status = folder.status()
    spark = curves.spark(folder)
    return {
        "name": job.name,
        "kind": job.kind,
        "state": job.state.value,
        "held": job.held,
        "position": job.position,
        "cause": job.cause if job.state in (State.FAILED, State.LOST) else "",
        "phase": status.phase,
        "step": status.step,
        "total": status.total,
        "loss": spark[-1] if spark else None,
        "spark": spark,
    }
