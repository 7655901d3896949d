"""SIGTERM as a request to stop: before the training it ends the job at once, in the training after the step."""

from __future__ import annotations

import signal
from types import FrameType

from studio.tasks.failures import StopRequested


class StopFlag:
    """Whether a signal asked to stop. `armed` is set as long as somebody looks at the flag between the steps."""

    def __init__(self) -> None:
        self.requested = False
        self.armed = False

    def install(self) -> None:
        """Take over SIGTERM and SIGINT (Ctrl-C in a terminal) of this process."""
        signal.signal(signal.SIGTERM, self._receive)
        signal.signal(signal.SIGINT, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if not self.armed:
            raise StopRequested
