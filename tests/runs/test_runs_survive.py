"""Whatever is killed, nothing is lost and the state stays true: real processes, really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from studio.runs import lock
from studio.runs.states import State

if TYPE_CHECKING:
    from tests.runs.conftest import Bench

LONG = "steps: 2000\nstep_seconds: 0.01\ncheckpoint_every: 10"
SERVER = """
import sys, time
from pathlib import Path
from studio.config.workspace import Workspace
from studio.runs.supervisor import Supervisor
supervisor = Supervisor(Workspace(Path(sys.argv[1])), sys.argv[2:])
supervisor.submit("first", "train", "steps: 40\\nstep_seconds: 0.02")
supervisor.submit("second", "train", "steps: 3")
sys.stdout.write("submitted\\n")
sys.stdout.flush()
time.sleep(600)
"""


def test_a_run_and_the_queue_go_on_when_the_server_is_killed(bench: Bench) -> None:
    argv = [sys.executable, "-c", SERVER, str(bench.workspace.root), *bench.supervisor.worker]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, process_group=0) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"submitted\n"
        folder = bench.training("first")
        os.killpg(server.pid, signal.SIGKILL)  # and all that a closed terminal would take with it
    assert bench.state("first") is State.RUNNING
    assert folder.status().step < 40
    assert bench.ended("first").state is State.FINISHED
    assert bench.ended("second").state is State.FINISHED  # nobody but the first run's shim could have started it
    assert bench.steps("first") == list(range(1, 41))
    assert bench.supervisor.store.leases() == {}


def test_a_killed_worker_fails_with_the_cause(bench: Bench) -> None:
    bench.submit(config=LONG)
    folder = bench.training()
    os.kill(folder.processes().worker_pid, signal.SIGKILL)
    job = bench.ended()
    assert job.state is State.FAILED
    assert "signal 9 (SIGKILL)" in job.cause
    assert "main memory" in job.cause
    assert folder.end().signal == 9
    assert bench.supervisor.store.leases() == {}


def test_a_run_whose_shim_is_killed_goes_on_and_finishes(bench: Bench) -> None:
    bench.submit(config="steps: 60\nstep_seconds: 0.02")
    folder = bench.training()
    os.kill(folder.processes().shim_pid, signal.SIGKILL)
    seen = folder.status().step
    assert bench.supervisor.reconcile() == []
    assert bench.state() is State.RUNNING
    bench.wait_for(lambda: folder.status().step > seen, "a step without a shim")
    assert bench.settled().state is State.FINISHED
    assert bench.supervisor.store.leases() == {}


def test_worker_killed_after_its_shim_is_lost(bench: Bench) -> None:
    bench.submit(config=LONG)
    folder = bench.training()
    processes = folder.processes()
    os.kill(processes.shim_pid, signal.SIGKILL)
    os.kill(processes.worker_pid, signal.SIGKILL)
    job = bench.settled()
    assert job.state is State.LOST
    assert "resume" in job.advice.lower()
    assert bench.supervisor.store.leases() == {}
    assert not lock.is_held(folder)


def test_a_lost_run_is_resumed_without_a_seam(bench: Bench) -> None:
    bench.submit(config="steps: 60\nstep_seconds: 0.01\ncheckpoint_every: 10")
    folder = bench.training(step=25)
    processes = folder.processes()
    os.kill(processes.shim_pid, signal.SIGKILL)
    os.kill(processes.worker_pid, signal.SIGKILL)
    assert bench.settled().state is State.LOST
    reached = bench.steps()[-1]
    resumed = bench.supervisor.resume("run")
    assert resumed.notice == f"Goes on from checkpoint-{reached // 10 * 10}."
    assert bench.ended().state is State.FINISHED
    assert bench.steps() == list(range(1, 61))
    assert folder.metrics_file.read_text().count('"loss"') == 60 + reached % 10  # the abandoned rows are kept


def test_the_queue_advances_after_a_lost_run(bench: Bench) -> None:
    bench.submit(config=LONG)
    bench.submit("next", config="steps: 2")
    processes = bench.training().processes()
    os.kill(processes.shim_pid, signal.SIGKILL)
    os.kill(processes.worker_pid, signal.SIGKILL)
    assert bench.settled().state is State.LOST
    assert bench.ended("next").state is State.FINISHED


def test_kill_works_with_a_dead_shim(bench: Bench) -> None:
    bench.submit(config=LONG)
    folder = bench.training()
    os.kill(folder.processes().shim_pid, signal.SIGKILL)
    bench.supervisor.kill("run")
    job = bench.settled()
    assert job.state is State.STOPPED
    assert "Killed on request" in job.cause


def test_stop_works_with_a_dead_shim(bench: Bench) -> None:
    bench.submit(config=LONG)
    folder = bench.training()
    os.kill(folder.processes().shim_pid, signal.SIGKILL)
    bench.supervisor.stop("run")
    assert bench.settled().state is State.STOPPED
    assert folder.checkpoint(folder.status().step).is_dir()


def test_kill_spares_a_stranger_with_the_workers_number(bench: Bench) -> None:
    bench.submit(config=LONG)
    folder = bench.training()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, process_group=0) as stranger:
        record = folder.process_file.read_text()
        worker = folder.processes().worker_pid
        folder.process_file.write_text(record.replace(f'"worker_pid": {worker}', f'"worker_pid": {stranger.pid}'))
        assert folder.processes().worker_pid == stranger.pid
        bench.supervisor.kill("run")
        assert bench.ended().state is State.STOPPED  # found by its mark all the same
        assert stranger.poll() is None


@pytest.mark.parametrize("child", ["own session", "own environment"])
def test_processes_that_outlive_the_worker_are_ended(bench: Bench, child: str) -> None:
    bench.submit(config=f"steps: 2\nchild: {child}")
    assert bench.ended().state is State.FINISHED
    pid = int((bench.folder().path / "child.pid").read_text())
    bench.wait_for(lambda: not alive(pid), "the end of the worker's child")


def test_no_zombies_stay(bench: Bench) -> None:
    bench.submit(config="steps: 1")
    shim = bench.wait_for(lambda: bench.folder().processes().shim_pid, "process.json")
    bench.ended()
    bench.wait_for(lambda: not psutil.pid_exists(shim), "the shim to be reaped")


def test_a_shim_that_cannot_begin_leaves_no_run_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")  # the interpreter of the shim cannot come up
    bench.submit(config="steps: 1")
    job = bench.settled()
    assert job.state is State.LOST
    assert "before its worker was started" in job.cause
    assert bench.supervisor.store.leases() == {}


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie: in a container nobody may reap orphans."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
