"""Finding and ending the processes of a run, and no others."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil

from studio.runs.environment import RUN_VARIABLE
from studio.runs.folder import RunFolder

CLOCK_SECONDS = 0.02
"""How far two readings of a creation time may differ: two ticks. When the clock was set meanwhile they differ by more;
a worker is then not known by its number and found by its mark."""


def created(pid: int) -> float:
    """When the process was made, in seconds since the epoch; 0 when there is none."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0


def is_same(pid: int, created_at: float) -> bool:
    """Whether the process `pid` is alive and the one that was made at `created_at`, not a later one of that number."""
    if pid <= 0:
        return False
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created_at) < CLOCK_SECONDS and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to the process group that `pid` leads; nothing when it is gone."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter for a group of zombies
        return


def end_leftovers(folder: RunFolder) -> int:
    """Kill whatever still carries the run's mark, such as ranks in sessions of their own; how many there were."""
    count = 0
    for process in _marked(folder):
        try:
            process.kill()
            count += 1
        except psutil.Error:
            continue
    return count


def kill(folder: RunFolder) -> bool:
    """SIGKILL the worker, its group and all that carries the run's mark; whether there was anything."""
    processes = folder.processes()
    worker_lives = is_same(processes.worker_pid, processes.worker_created)
    if worker_lives:
        signal_group(processes.worker_pid, signal.SIGKILL)
    return end_leftovers(folder) > 0 or worker_lives


def _marked(folder: RunFolder) -> Iterator[psutil.Process]:
    """Living processes of the run. The mark is in the environment that a process was started with."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(RUN_VARIABLE) == str(folder.path):
                yield process
        except (psutil.Error, OSError):
            continue
