"""How an attempt ended, in plain words: from the exit code, the worker's own explanation and the end of its log."""

from __future__ import annotations

import re
import signal as signals
from typing import NamedTuple

from studio.runs.records import Failure, Request
from studio.runs.states import State

EXIT_STOPPED = 10
"""The worker's exit code after it was asked to stop and saved a checkpoint."""

GPU_MEMORY, MEMORY = "gpu_memory", "main_memory"

READ_LOG = "Read the end of the log for where it happened."
RESUME = "Press resume: it goes on from what was saved last, or from the beginning if there is nothing."
LESS_MEMORY = "use a smaller batch with more accumulation, a shorter cutoff, or gradient checkpointing"
_GPU_MEMORY = re.compile(r"CUDA out of memory|torch\.OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED|HIP out of memory")
_DISK = re.compile(r"No space left on device|\[Errno 28\]|Disk quota exceeded")
_KILLED_CHILD = re.compile(r"exitcode\s*:\s*-9|Signal 9 |SIGKILL|by signal: Killed")
_CRASHES = frozenset({-signals.SIGSEGV, -signals.SIGBUS, -signals.SIGILL, -signals.SIGABRT, -signals.SIGFPE})
_MODULE = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")
_EXCEPTION = re.compile(
    r"^(?:\[rank\d+\]: ?)?((?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt|Fault)\w*(?:: .*)?)$", re.MULTILINE
)
_LONGEST_CAUSE = 600


class Ending(NamedTuple):
    """The state, why, and what to do about it; both texts are empty where there is nothing to say.

    `kind` is the class of the cause as a short word, where it is known: gpu_memory, main_memory, disk_full, package …
    """

    state: State
    cause: str = ""
    advice: str = ""
    kind: str = ""


def ending(
    code: int,
    *,
    failure: Failure | None = None,
    log: str = "",
    memory_killed: bool = False,
    request: Request | None = None,
) -> Ending:
    """What the exit code `code` means (negative: minus the signal).

    `log` is the end of what the attempt wrote, `memory_killed` whether the kernel has killed for want of main memory
    meanwhile, `request` what the worker was asked last. The worker's own explanation comes first.
    """
    asked = request.action if request else ""
    if code == 0:
        return Ending(State.FINISHED)
    if asked == "kill" and code < 0:
        return Ending(State.STOPPED, "Killed on request; nothing was saved at that moment.", RESUME)
    if code == EXIT_STOPPED and failure is None:
        return Ending(State.STOPPED, "Stopped on request." if asked else "The worker stopped by itself.", RESUME)
    if failure is not None:
        return Ending(State.FAILED, failure.cause, failure.advice, failure.kind)
    if asked == "stop" and code in (-signals.SIGTERM, -signals.SIGKILL):
        return _cut_short(-code)
    if memory_killed and (code == -signals.SIGKILL or _KILLED_CHILD.search(log)):
        return Ending(State.FAILED, "Main memory ran out and the system killed the run.", _memory_advice(), MEMORY)
    if code < 0:
        return (code in _CRASHES and _recognised(log)) or _by_signal(-code)
    return _from_log(log) or Ending(State.FAILED, f"The worker ended with exit code {code}.", READ_LOG)


def lost(log: str) -> Ending:
    """The ending of an attempt whose shim died too: nobody saw how it went, but the log may tell."""
    known = _recognised(log)
    return known or Ending(
        State.LOST,
        "The run and its supervising process are gone without a word: both were killed, or the machine or container"
        " was restarted.",
        RESUME,
    )


def never_started(log: str) -> Ending:
    """The ending of an attempt whose shim died before it had a worker."""
    last = _last_exception(log)
    return Ending(State.LOST, f"The run ended before its worker was started{': ' + last if last else '.'}", RESUME)


def _cut_short(signal: int) -> Ending:
    if signal == signals.SIGTERM:
        return Ending(State.STOPPED, "Stopped on request before a checkpoint could be saved.", RESUME)
    return Ending(State.STOPPED, "Stopped on request; it did not answer in time and was killed.", RESUME)


def _by_signal(number: int) -> Ending:
    try:
        name = signals.Signals(number).name
    except ValueError:
        name = "unknown"
    if number == signals.SIGKILL:
        cause = "Killed by signal 9 (SIGKILL): by a person, or most often by the system because main memory ran out."
        return Ending(State.FAILED, cause, _memory_advice(), MEMORY)
    if -number in _CRASHES:
        advice = "A library crashed. Run `studio doctor`, read the end of the log, then resume."
        return Ending(State.FAILED, f"Crashed with signal {number} ({name}).", advice)
    return Ending(State.FAILED, f"Killed by signal {number} ({name}) from outside Studio.", RESUME)


def _memory_advice() -> str:
    return f"If it was memory: {LESS_MEMORY}, a smaller or quantized model, or close other programs. Then resume."


def _recognised(log: str) -> Ending | None:
    """Causes with an advice of their own."""
    if _GPU_MEMORY.search(log):
        advice = f"To need less, {LESS_MEMORY}, 4-bit quantization or LoRA."
        return Ending(State.FAILED, "The GPU's memory ran out.", advice, GPU_MEMORY)
    if _DISK.search(log):
        advice = "Free some space (old runs and their checkpoints can be removed on the Runs page), then resume."
        return Ending(State.FAILED, "The disk is full.", advice, "disk_full")
    if missing := _MODULE.findall(log):
        advice = f"Install the package that provides {missing[-1]} into Studio's environment, then resume."
        return Ending(State.FAILED, f"The Python module {missing[-1]} is not installed.", advice, "package")
    return None


def _from_log(log: str) -> Ending | None:
    last = _last_exception(log)
    return _recognised(log) or (Ending(State.FAILED, last, READ_LOG) if last else None)


def _last_exception(log: str) -> str:
    found = _EXCEPTION.findall(log)
    return found[-1].strip()[:_LONGEST_CAUSE] if found else ""
