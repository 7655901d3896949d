"""Every way to end is told in plain words with something to do about it."""

from __future__ import annotations

import signal

import pytest

from studio.runs.endings import EXIT_STOPPED, ending, lost, never_started
from studio.runs.records import Failure, Request
from studio.runs.shim import Escalation
from studio.runs.states import State

STOP, KILL = Request(1, "stop"), Request(1, "kill")
TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\n'


def test_the_planned_endings() -> None:
    assert ending(0) == (State.FINISHED, "", "", "")
    assert ending(0, request=STOP).state is State.FINISHED
    assert ending(EXIT_STOPPED, request=STOP)[:2] == (State.STOPPED, "Stopped on request.")
    assert ending(-signal.SIGTERM, request=STOP).state is State.STOPPED
    assert ending(-signal.SIGKILL, request=STOP).state is State.STOPPED
    assert ending(-signal.SIGKILL, request=KILL).cause.startswith("Killed on request")


def test_the_workers_own_failure_wins() -> None:
    failure = Failure("row 7 is bad", "mend it", "data")
    assert ending(1, failure=failure, log="CUDA out of memory") == (State.FAILED, "row 7 is bad", "mend it", "data")
    assert ending(EXIT_STOPPED, failure=failure).state is State.FAILED


def test_sigkill_is_a_fact_only_when_the_kernel_says_so() -> None:
    assert ending(-9).cause.startswith("Killed by signal 9 (SIGKILL): by a person, or most often")
    assert ending(-9, memory_killed=True).cause == "Main memory ran out and the system killed the run."
    rank = "exitcode  : -9 (pid: 77)\nRuntimeError: rank 1 is gone"
    assert ending(1, log=rank, memory_killed=True).cause.startswith("Main memory ran out")
    assert ending(1, log="ValueError: no", memory_killed=True).cause == "ValueError: no"


@pytest.mark.parametrize(
    ("code", "log", "cause", "advice"),
    [
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "GPU's memory ran out", "batch"),
        (1, "OSError: [Errno 28] No space left on device", "disk is full", "space"),
        (-6, "terminate called\nNo space left on device", "disk is full", "space"),
        (1, TRACEBACK + "ModuleNotFoundError: No module named 'apex'", "module apex is not installed", "apex"),
        (1, f"{TRACEBACK}KeyError: 'a'\n\n{TRACEBACK}pkg.BadRowError: row 3\n", "pkg.BadRowError: row 3", "log"),
        (1, "[rank0]: ValueError: no", "ValueError: no", "log"),
        (7, "nothing to see", "exit code 7", "log"),
        (-11, "", "signal 11 (SIGSEGV)", "doctor"),
        (-15, "", "signal 15 (SIGTERM) from outside", "resume"),
        (-99, "", "signal 99 (unknown)", "resume"),
    ],
)
def test_failures_are_recognised(code: int, log: str, cause: str, advice: str) -> None:
    found = ending(code, log=log)
    assert found.state is State.FAILED
    assert cause in found.cause
    assert advice in found.advice


def test_lost_says_resume_unless_the_log_knows_better() -> None:
    assert lost("step 3\nstep 4").state is State.LOST
    assert "resume" in lost("").advice
    assert lost("No space left on device").state is State.FAILED
    assert "ImportError: x" in never_started("ImportError: x").cause


def test_patience_is_for_workers_that_listen() -> None:
    def due(phase: str, times: list[float]) -> list[signal.Signals | None]:
        escalation = Escalation(stop_grace=10, kill_grace=5)
        return [escalation.step(STOP, phase, time) for time in times]

    assert due("training", [0, 9, 10, 14, 15]) == [None, None, signal.SIGTERM, None, signal.SIGKILL]
    assert due("loading model", [0, 4, 5]) == [signal.SIGTERM, None, signal.SIGKILL]
    assert due("saving", [0, 1000]) == [None, None]
    assert due("stopped", [0, 9, 10]) == [None, None, signal.SIGTERM]  # it is just leaving
    assert Escalation(10, 5).step(KILL, "saving", 0) is signal.SIGKILL
    assert Escalation(10, 5).step(Request(1, "save_now"), "training", 0) is None
