"""How a tab's script asks its server function: a request names an action, the answer holds what the page lacks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from studio.config.faults import ConfigError
from studio.config.workspace import OutsideWorkspace
from studio.data.examples import DataError
from studio.runs.errors import RunError
from studio.runs.states import ACTIVE, State
from studio.runs.store import Job
from studio.web.words import known

Request = Mapping[str, Any]
Reply = dict[str, Any]
Action = Callable[[Request], Reply]

EXPECTED = (RunError, ConfigError, DataError, OutsideWorkspace, OSError)
"""What goes wrong without being a defect: the text says what and the way out."""


def answer(actions: Mapping[str, Action], request: Request) -> Reply:
    """Do what the request names in `action`; the answer, or `error` with the reason and the way out."""
    action = actions.get(str(request.get("action")))
    if action is None:
        return {"error": f"Unknown action {request.get('action')!r}."}
    try:
        return action({**request, "language": known(request.get("language"))})
    except EXPECTED as error:
        return {"error": str(error)}


def add_if_new(reply: Reply, key: str, value: Reply, request: Request) -> None:
    """Put `value` with its version into the reply unless the page says that it has it."""
    version = hashlib.sha1(json.dumps(value, default=str).encode(), usedforsecurity=False).hexdigest()
    if version != request.get(key):
        reply[key] = {**value, "version": version}


def rank(job: Job) -> tuple[int, float]:
    """The order of a list of jobs: what runs, then what waits in its order, then the newest."""
    if job.state in ACTIVE:
        return 0, -job.created
    return (1, float(job.position)) if job.state is State.QUEUED else (2, -job.created)
