"""Where the helper process begins: `python -m studio.tasks.inspect WORKSPACE`, questions on stdin, answers on stdout.

One JSON object a line. In: {"id", "question", "body"} or {"cancel": id}. Out: {"id", "progress": [done, total]} now and
then, and last {"id", "answer"} or {"id", "error", "kind"}. It ends when stdin ends.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from studio.config.workspace import Workspace
from studio.tasks import reward_trial, template_report, token_report, token_scan
from studio.tasks.desk import Desk
from studio.tasks.entry import set_up_log
from studio.tasks.failures import explain
from studio.tasks.forecast import question as forecasts

Body = Mapping[str, Any]
Answer = dict[str, Any]
Steps = Generator[tuple[int, int], None, Answer]

# A question is a function of the desk and its body. A long one is a generator: it yields (done, total), total 0 where
# unknown, so that it can be watched, cancelled, and interrupted by short ones.
QUESTIONS: Mapping[str, Callable[[Desk, Body], Answer | Steps]] = {
    "tokens.rows": token_report.rows,
    "tokens.scan": token_scan.scan,
    "tokens.known": token_scan.known,
    "template.render": template_report.render,
    "template.check": template_report.check,
    "rewards.try": reward_trial.ask,
    "forecast": forecasts.answer,
    "forecast.fit": forecasts.fitted,
}

SECONDS_BETWEEN_REPORTS = 0.2

logger = logging.getLogger(__name__)


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


@dataclass
class Office:
    """Answers what comes in, one question after another; short ones do not wait for a long one."""

    desk: Desk
    outgoing: IO[str]
    waiting: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue[dict[str, Any]])
    later: deque[dict[str, Any]] = field(default_factory=deque[dict[str, Any]])
    cancelled: set[int] = field(default_factory=set[int])

    def take(self, line: str) -> None:
        """Put what a line says where it is found; called from the thread that reads."""
        request = json.loads(line)
        if "cancel" in request:
            self.cancelled.add(request["cancel"])
        else:
            self.waiting.put(request)

    def work(self) -> None:
        """Answer for ever."""
        while True:
            self._answer(self.later.popleft() if self.later else self.waiting.get())

    def _answer(self, request: dict[str, Any]) -> None:
        ticket = request["id"]
        try:
            if ticket in self.cancelled:
                raise Cancelled
            reply = QUESTIONS[request["question"]](self.desk, request["body"])
            answer = self._drive(ticket, reply) if isinstance(reply, Generator) else reply
            self._say({"id": ticket, "answer": answer})
        except Cancelled:
            self._say({"id": ticket, "error": "It was cancelled.", "kind": "cancelled"})
        except Exception as error:
            logger.exception("question %s has no answer", request.get("question"))
            failure = explain(error)
            self._say({"id": ticket, "error": f"{failure.cause} {failure.advice}".strip(), "kind": failure.kind})
        self.cancelled.discard(ticket)

    def _drive(self, ticket: int, steps: Steps) -> Answer:
        said = 0.0
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                return end.value
            if ticket in self.cancelled:
                steps.close()
                raise Cancelled
            if time.monotonic() - said > SECONDS_BETWEEN_REPORTS:
                said = time.monotonic()
                self._say({"id": ticket, "progress": progress})
            self._answer_short_ones()

    def _answer_short_ones(self) -> None:
        while not self.waiting.empty():
            request = self.waiting.get()
            if inspect.isgeneratorfunction(QUESTIONS.get(request["question"])):
                self.later.append(request)
            else:
                self._answer(request)

    def _say(self, reply: Mapping[str, Any]) -> None:
        self.outgoing.write(json.dumps(reply, ensure_ascii=True) + "\n")
        self.outgoing.flush()


def main(words: list[str]) -> None:
    """Serve until stdin ends. `words`: the workspace, then further folders that may be read."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    outgoing = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print belongs into the log, not among the answers
    office = Office(Desk(Workspace(Path(words[0]), tuple(map(Path, words[1:])))), outgoing)

    def read() -> None:
        for line in sys.stdin:
            office.take(line)
        os._exit(0)  # the board is gone, so whatever is being computed is for nobody

    threading.Thread(target=read, daemon=True).start()
    office.work()


if __name__ == "__main__":
    set_up_log()
    main(sys.argv[1:])
