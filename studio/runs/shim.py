"""The process between the queue and one worker: starts it, waits, writes how it ended, and starts the next job.

`python -m studio.runs.shim RUN_FOLDER --lock-fd N --workspace ROOT`; stdout and stderr are the run's log.txt.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from studio.config.workspace import Workspace
from studio.runs import cgroup
from studio.runs.adopt import open_store
from studio.runs.endings import Ending, ending
from studio.runs.environment import worker_environment
from studio.runs.errors import StoreError
from studio.runs.folder import RunFolder
from studio.runs.launch import start_next
from studio.runs.processes import created, end_leftovers, signal_group
from studio.runs.records import End, JobSpec, Processes, Request
from studio.runs.settle import settle
from studio.runs.states import State
from studio.runs.store import Store

STOP_GRACE_SECONDS = 180.0
"""From the request to stop until SIGTERM, for a worker that looks at requests: a step, perhaps a long one, must end."""

KILL_GRACE_SECONDS = 30.0
"""From SIGTERM until SIGKILL of the whole process group."""

POLL_SECONDS = 0.1
PATIENT = frozenset({"training", "evaluating", "stopped", "finished", "failed"})
"""Phases in which the worker sees a request at its next step, or is on its way out; in others SIGTERM comes at once."""

SAVING = "saving"
"""The phase that SIGTERM never cuts: a checkpoint is being written. `kill` is there for one that hangs."""


@dataclass
class Escalation:
    """When a worker that was asked to stop gets SIGTERM, then SIGKILL. Times are time.monotonic() seconds."""

    stop_grace: float
    kill_grace: float
    asked: float | None = None
    terminated: float | None = None

    def step(self, request: Request, phase: str, now: float) -> signal.Signals | None:
        """The signal that is due now, if any. SIGKILL is for the group, SIGTERM for the worker alone."""
        if request.action == "kill":
            return signal.SIGKILL
        if request.action != "stop":
            return None
        if self.asked is None:
            self.asked = now
        if self.terminated is not None:
            return signal.SIGKILL if now >= self.terminated + self.kill_grace else None
        patience = self.stop_grace if phase in PATIENT else 0.0
        if phase == SAVING or now < self.asked + patience:
            return None
        self.terminated = now
        return signal.SIGTERM


@dataclass
class Shim:
    """One attempt of one run, from the worker's start to the settled row."""

    workspace: Workspace
    folder: RunFolder
    lock: int
    asked_to_end: bool = False  # SIGTERM came
    job: JobSpec = field(init=False)

    def __post_init__(self) -> None:
        self.job = self.folder.job()

    def run(self) -> None:
        """The whole life: every step after the worker's end is tried, whatever became of those before it."""
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, self._hear)  # also for those ignored: SIG_IGN would be inherited by the worker
        end = self._attempt()
        try:
            self.folder.write_end(end)
        except OSError as error:
            _say(f"end.json could not be written: {error}")
        try:
            store = open_store(self.workspace)
            job = store.job(self.folder.name)
            if job is not None and job.id == self.job.id and job.attempt == end.attempt:
                settle(store, job, self.folder, end)
            os.close(self.lock)
            start_next(self.workspace, store)
        except (StoreError, OSError) as error:
            _say(f"the job database could not be updated, Studio will do so when it looks next: {error}")

    def _attempt(self) -> End:
        """Run the worker and say how it ended."""
        log_start = self.folder.log_file.stat().st_size
        _say(f"attempt {self.job.attempt} on {', '.join(self.job.devices)}")
        kills_before = cgroup.oom_kills()
        try:
            worker = self._spawn()
        except OSError as error:
            cause = f"The worker could not be started: {error}."
            return self._end(Ending(State.FAILED, cause, "Run `studio doctor`, then resume."), None)
        self._record(worker.pid, log_start)
        code = self._watch(worker)
        signal_group(worker.pid, signal.SIGKILL)
        end_leftovers(self.folder)
        kills = cgroup.oom_kills()
        how = ending(
            code,
            failure=self.folder.status().failure,
            log=self.folder.log_tail(start=log_start),
            memory_killed=kills is not None and kills_before is not None and kills > kills_before,
            request=self.folder.request(),
        )
        return self._end(how, code)

    def _spawn(self) -> subprocess.Popen[bytes]:
        """The worker leads a process group of its own and carries the lock. Raises OSError."""
        if not self.job.worker:
            raise FileNotFoundError("job.json names no worker")
        return subprocess.Popen(
            [*self.job.worker, str(self.folder.path)],
            cwd=self.workspace.root,
            env=worker_environment(os.environ, self.job.devices, self.folder),
            stdin=subprocess.DEVNULL,
            pass_fds=(self.lock,),
            process_group=0,
        )

    def _record(self, worker_pid: int, log_start: int) -> None:
        """Say who is running; where that fails (disk full) the run goes on without."""
        shim_pid = os.getpid()
        processes = Processes(self.job.attempt, shim_pid, created(shim_pid), worker_pid, created(worker_pid), log_start)
        try:
            self.folder.write_processes(processes)
            Store(self.workspace.database).change(self.job.id, State.RUNNING, {State.STARTING})
        except (StoreError, OSError) as error:
            _say(f"that the run is going on could not be written down: {error}")

    def _watch(self, worker: subprocess.Popen[bytes]) -> int:
        """Wait for the worker, handing on stop and kill; its return code."""
        stop_grace, kill_grace = self.job.stop_grace_seconds, self.job.kill_grace_seconds
        escalation = Escalation(
            STOP_GRACE_SECONDS if stop_grace is None else stop_grace,
            KILL_GRACE_SECONDS if kill_grace is None else kill_grace,
        )
        while (code := worker.poll()) is None:
            if self.asked_to_end:
                self._pass_on_stop()
            request = self.folder.request()
            phase = self.folder.status().phase if request.action == "stop" else ""
            due = escalation.step(request, phase, time.monotonic())
            if due is signal.SIGTERM:
                worker.terminate()
            elif due is signal.SIGKILL:
                signal_group(worker.pid, signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        return code

    def _hear(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM asks for a stop; a closed terminal and Ctrl-C mean nothing to a run."""
        if number == signal.SIGTERM:
            self.asked_to_end = True

    def _pass_on_stop(self) -> None:
        """SIGTERM to the shim (a container that stops) is a request to stop, unless there is one already."""
        self.asked_to_end = False
        try:
            if self.folder.request().action not in {"stop", "kill"}:
                self.folder.write_request("stop")
        except OSError as error:
            _say(f"the request to stop could not be written: {error}")

    def _end(self, how: Ending, code: int | None) -> End:
        return End(
            state=how.state,
            attempt=self.job.attempt,
            exit_code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            cause=how.cause,
            advice=how.advice,
            kind=how.kind,
            time=time.time(),
        )


def _say(text: str) -> None:
    """One line in the run's log."""
    sys.stderr.write(f"[studio {time.strftime('%Y-%m-%d %H:%M:%S')}] {text}\n")
    sys.stderr.flush()


def main(argv: Sequence[str]) -> None:
    """Read the arguments and live one attempt."""
    parser = argparse.ArgumentParser(prog="studio.runs.shim")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lock-fd", type=int, required=True)
    parser.add_argument("--workspace", type=Path, required=True)
    given = parser.parse_args(argv)
    Shim(Workspace(given.workspace), RunFolder(given.folder), given.lock_fd).run()


if __name__ == "__main__":
    main(sys.argv[1:])
