"""One helper process that answers questions which need the training stack, so that the board itself stays light.

It is started at the first question, asked through its stdin, started anew when it has died, and ended after some idle
minutes. It ends itself when its stdin closes, so it does not outlive the board, however the board ends.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

from studio.config.workspace import Workspace
from studio.runs.environment import NO_TELEMETRY
from studio.runs.errors import RunError

IDLE_SECONDS = 600.0
PATIENCE_SECONDS = 90.0  # the first question also waits for the imports, and for a hub where the model lies on one
MOST_LOG_BYTES = 1 << 20
KEPT_ANSWERS = 32

logger = logging.getLogger(__name__)

Body = Mapping[str, Any]


class InspectorError(RunError):
    """A question that got no answer; the text says why and what to do. `kind` is a short word for programs."""

    def __init__(self, text: str, kind: str = "inspector") -> None:
        super().__init__(text)
        self.kind = kind


@dataclass
class Asked:
    """A question under way: how far it is (`done` of `total`, 0 where unknown), then its answer or its error."""

    ticket: int
    question: str
    body: str
    process: subprocess.Popen[bytes]
    done: int = 0
    total: int = 0
    answer: dict[str, Any] | None = None
    error: InspectorError | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def result(self) -> dict[str, Any]:
        """The answer. Raises InspectorError when there is none."""
        if self.error is not None:
            raise self.error
        if self.answer is None:
            raise InspectorError("The question is not answered yet.", "early")
        return self.answer


class Inspector:
    """Asks the helper process of one workspace. Safe to use from several threads."""

    def __init__(
        self, workspace: Workspace, command: Sequence[str] | None = None, *, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self.workspace = workspace
        # -P: what lies in the workspace is no module.
        self.command = tuple(command or (sys.executable, "-P", "-m", "studio.tasks.inspect"))
        self.idle_seconds = idle_seconds
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: dict[int, Asked] = {}
        self._last = 0
        self._rest: threading.Timer | None = None

    @property
    def log_file(self) -> Path:
        """What the helper says on stderr."""
        return self.workspace.cache / "inspector" / "log.txt"

    def ask(self, question: str, body: Body, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The answer, waited for. Raises InspectorError when it fails or takes longer than `seconds`.

        A helper that takes too long is ended: it hangs in something that cannot be interrupted otherwise.
        """
        asked = self.begin(question, body)
        if not asked.ended.wait(seconds):
            self._end(asked.process, f"{question} took longer than {seconds:.0f} s and was stopped.")
        return asked.result()

    def begin(self, question: str, body: Body) -> Asked:
        """Ask without waiting. The same question that is still under way is not asked twice."""
        text = json.dumps(body, sort_keys=True)
        with self._lock:
            for asked in self._open():
                if (asked.question, asked.body) == (question, text):
                    return asked
            self._last += 1
            line = json.dumps({"id": self._last, "question": question, "body": body}) + "\n"
            process = self._write(line)
            asked = self._asked[self._last] = Asked(self._last, question, text, process)
            for old in [one.ticket for one in self._asked.values() if one.ended.is_set()][:-KEPT_ANSWERS]:
                del self._asked[old]
            return asked

    def find(self, ticket: int) -> Asked:
        """The question of that ticket. Raises InspectorError when it is not known (any more)."""
        with self._lock:
            if ticket in self._asked:
                return self._asked[ticket]
        raise InspectorError("This question is not known any more, perhaps the board was started anew. Ask again.")

    def cancel(self, ticket: int) -> None:
        """Ask for the end of a question; it then ends with an error of kind `cancelled`."""
        with self._lock:
            asked = self._asked.get(ticket)
            if asked is not None and not asked.ended.is_set() and asked.process is self._process:
                self._write(json.dumps({"cancel": ticket}) + "\n")

    def close(self) -> None:
        """End the helper; open questions fail. The next question starts a new one."""
        with self._lock:
            process, self._process = self._process, None
            if self._rest is not None:
                self._rest.cancel()
        if process is not None and process.stdin is not None:
            process.stdin.close()

    @property
    def pid(self) -> int | None:
        """The process id of the helper, None while there is none."""
        with self._lock:
            return self._process.pid if self._process is not None else None

    def _open(self) -> list[Asked]:
        return [asked for asked in self._asked.values() if not asked.ended.is_set()]

    def _write(self, line: str) -> subprocess.Popen[bytes]:
        """Put a line into the helper's stdin, starting one where there is none or it has just died."""
        for _ in range(2):
            process = self._process or self._start()
            try:
                stdin = cast("IO[bytes]", process.stdin)
                stdin.write(line.encode())
                stdin.flush()
            except (OSError, ValueError):  # it died just now; its stdin may be closed already
                self._forget(process)
            else:
                return process
        raise InspectorError(f"The helper process cannot be started. See {self.log_file}.")

    def _start(self) -> subprocess.Popen[bytes]:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        long = self.log_file.is_file() and self.log_file.stat().st_size > MOST_LOG_BYTES
        words = [*self.command, str(self.workspace.root), *map(str, self.workspace.allowed)]
        with self.log_file.open("wb" if long else "ab") as log:
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.workspace.root,
                env={**os.environ, **NO_TELEMETRY, "CUDA_VISIBLE_DEVICES": ""},
                start_new_session=True,  # Ctrl-C in the board's terminal is the board's to handle
            )
        self._process = process
        threading.Thread(target=self._read, args=(process,), name="inspector", daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Take the helper's lines until it ends; what it then leaves open has failed."""
        with cast("IO[bytes]", process.stdout) as lines:
            for line in lines:
                self._heard(line)
        code = process.wait()
        self._forget(process)
        with suppress(OSError):
            cast("IO[bytes]", process.stdin).close()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._fail(process, f"The helper process ended in the midst of the question ({how}). See {self.log_file}.")

    def _heard(self, line: bytes) -> None:
        try:
            news = cast("dict[str, Any]", json.loads(line))
            with self._lock:  # the answer may be here before the question is written down
                asked = self._asked.get(int(news["id"]))
        except (ValueError, KeyError, TypeError):
            logger.warning("the inspector said what nobody understands: %r", line[:200])
            return
        if asked is None:
            return
        if "progress" in news:
            asked.done, asked.total = news["progress"]
            return
        if "answer" in news:
            asked.answer = news["answer"]
        else:
            asked.error = InspectorError(str(news.get("error")), str(news.get("kind", "inspector")))
        asked.ended.set()
        self._wait_for_work()

    def _wait_for_work(self) -> None:
        """End the helper when nothing was asked for some minutes from now on."""
        with self._lock:
            if self._rest is not None:
                self._rest.cancel()
            self._rest = threading.Timer(self.idle_seconds, self._sleep, [self._last])
            self._rest.daemon = True
            self._rest.start()

    def _sleep(self, last: int) -> None:
        with self._lock:
            if last == self._last and not self._open():
                self.close()

    def _end(self, process: subprocess.Popen[bytes], reason: str) -> None:
        self._fail(process, reason, "timeout")
        self._forget(process)
        process.kill()

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            if self._process is process:
                self._process = None

    def _fail(self, process: subprocess.Popen[bytes], reason: str, kind: str = "died") -> None:
        with self._lock:
            for asked in self._open():
                if asked.process is process:
                    asked.error = InspectorError(reason, kind)
                    asked.ended.set()


@lru_cache(maxsize=8)
def inspector_of(workspace: Workspace) -> Inspector:
    """The one inspector of this process for a workspace."""
    return Inspector(workspace)
