"""What a job says about itself: phase, progress and notices, written to status.json at most twice a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from studio.runs.folder import RunFolder
from studio.runs.records import Failure, Status

SECONDS_BETWEEN_WRITES = 0.5

COUNTED_ANEW = frozenset({"starting", "fetching model", "fetching data", "loading model", "tokenizing"})
"""Phases before the training: what the phase before them counted is not theirs."""

logger = logging.getLogger(__name__)


class Reporter:
    """The one writer of a run's status.json."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._status = Status()
        self._written = 0.0

    @property
    def status(self) -> Status:
        """The newest state, written or not."""
        return self._status

    def phase(self, name: str, message: str = "") -> None:
        """Begin a phase; written at once."""
        logger.info("%s%s", name, f": {message}" if message else "")
        self._status = replace(self._status, phase=name, message=message)
        if name in COUNTED_ANEW:
            self._status = replace(self._status, step=0, total=0, eta_seconds=None)
        self._write()

    def progress(self, step: int, total: int, eta_seconds: float | None = None, message: str = "") -> None:
        """Where the phase is; written when the last write is old enough, or when the step is the last."""
        self._status = replace(self._status, step=step, total=total, eta_seconds=eta_seconds, message=message)
        if step >= total or time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
            self._write()

    def parameters(self, counts: Mapping[str, Any], dtypes: Mapping[str, Any]) -> None:
        """How many parameters there are, and in which formats."""
        self._status = replace(self._status, parameters=counts, dtypes=dtypes)
        self._write()

    def notice(self, text: str) -> None:
        """Something that the user should know before reading the results; shown on the page and in the log."""
        logger.info(text)
        self._status = replace(self._status, notices=(*self._status.notices, text))
        self._write()

    def fail(self, failure: Failure) -> None:
        """Say why the job failed."""
        self._status = replace(self._status, failure=failure, eta_seconds=None)
        self._write()

    def _write(self) -> None:
        self._status = replace(self._status, updated=time.time())
        self._folder.write_status(self._status)
        self._written = time.monotonic()
