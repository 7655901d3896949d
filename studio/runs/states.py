"""The states of a job and which of them mean that something is alive."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """queued -> starting -> running -> stopping -> finished | stopped | failed | lost."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"


ACTIVE: frozenset[State] = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
"""A process holds, or has just held, the lock of the run's folder."""

ENDED: frozenset[State] = frozenset({State.FINISHED, State.STOPPED, State.FAILED, State.LOST})
"""Nothing more happens to the run unless somebody resumes it."""
