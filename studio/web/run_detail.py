"""One run as the page shows it: what it is doing, what went wrong, and what can be done with it now."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from studio.config.jobs import JobConfig
from studio.config.kinds import KINDS
from studio.config.outline import length_setting
from studio.config.train import TrainConfig
from studio.runs.checkpoints import checkpoints
from studio.runs.configs import config_of
from studio.runs.folder import RunFolder
from studio.runs.metrics import NON_FINITE
from studio.runs.records import Status
from studio.runs.states import ACTIVE, State
from studio.runs.store import Job
from studio.web.shown_values import number_text
from studio.web.words import say

CHECKPOINT, NOT_FINITE = "checkpoint", "not_finite"  # an event, and the code of a finding


def detail(
    language: str,
    job: Job,
    folder: RunFolder,
    events: Sequence[dict[str, Any]],
    looked: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The head of a run's page, and a version that changes when something in it does.

    `looked` is what the doctor found in its numbers (`RunDoctor.look`), for a run that trains.
    """
    status = folder.status()
    shown: dict[str, Any] = {
        "name": job.name,
        "state": job.state.value,
        "held": job.held,
        "active": job.state in ACTIVE,
        "position": job.position,
        "cause": job.cause,
        "advice": job.advice,
        "phase": status.phase,
        "message": status.message,
        "step": status.step,
        "total": status.total,
        "eta_seconds": status.eta_seconds if job.state in ACTIVE else None,
        "updated": status.updated,
        "notices": _notices(language, job, status),
        "events": [_event(event) for event in _worth_saying(events, (looked or {}).get("findings", ()))],
        "actions": actions(job),
        "answers": folder.completions_file.exists(),
        "attempt": job.attempt,
        **(looked or {}),
    }
    if job.state not in ACTIVE:
        shown |= {
            "size": folder.size_bytes(),
            "checkpoints": [{**asdict(point), "name": point.name, "path": ""} for point in checkpoints(folder)],
            "length": _length(language, job, folder),
        }
    version = hashlib.sha1(json.dumps(shown, default=str).encode(), usedforsecurity=False).hexdigest()
    return {**shown, "size": shown.get("size", 0), "version": version, "clock": time.time()}


def _notices(language: str, job: Job, status: Status) -> list[str]:
    """What a person should know of the run: the job's notice, what is trained in which format, the worker's notices."""
    found = [job.notice] if job.notice else []
    total, trainable = (status.parameters.get(name) for name in ("total", "trainable"))
    if isinstance(total, int) and isinstance(trainable, int) and total:
        held = ", ".join(f"{name} {count:,}" for name, count in status.dtypes.items())
        numbers = {"trainable": f"{trainable:,}", "total": f"{total:,}", "share": f"{100 * trainable / total:.2f}"}
        found.append(say(language, "page.runs.parameters", held=held, **numbers))
    return [*found, *status.notices]


def _worth_saying(events: Sequence[dict[str, Any]], findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What happened lately; of the checkpoints only the newest, since the files list them all.

    That a number is not finite is said once, and not at all where a finding says so.
    """
    saved = [event for event in events if event["event"] == CHECKPOINT]
    said = {finding["chart"] for finding in findings if finding["code"] == NOT_FINITE}
    others: list[dict[str, Any]] = []
    for event in events:
        if event["event"] == NON_FINITE:
            if event["key"] in said:
                continue
            said.add(event["key"])
        if event["event"] != CHECKPOINT:
            others.append(event)
    return others[-5:] + saved[-1:]


def _event(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if isinstance(value, str | int | float)}


def _length(language: str, job: Job, folder: RunFolder) -> dict[str, Any] | None:
    """The setting that a finished run is lengthened by; None when its config cannot be read or it has no length."""
    config = read_config(job, folder)
    if not isinstance(config, TrainConfig):
        return None
    path, value = length_setting(config)
    return {"path": path, "label": say(language, f"fields.{path}.label"), "value": number_text(value)}


def read_config(job: Job, folder: RunFolder) -> JobConfig | None:
    """The config of a run as far as it has the right shape."""
    kind = KINDS.get(job.kind)
    return config_of(folder, kind.config) if kind else None


def actions(job: Job) -> list[str]:
    """What the buttons offer, the likeliest first."""
    trains = job.kind == "train"
    clone = ["clone"] if trains else []
    if job.state is State.QUEUED:
        return ["resume", *clone, "stop"] if job.held else ["pause", "top", *clone, "stop"]
    if job.state in (State.STARTING, State.RUNNING):
        return ["stop_save", "save_now", "pause", "clone", "kill"] if trains else ["stop", "pause", "kill"]
    if job.state is State.STOPPING:
        return [*clone, "kill"]
    further = ["evaluate", "chat", "export"] if trains else []
    return ["resume", *clone, *further, "remove"]
