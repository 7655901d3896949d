"""A workspace of its own for every test, whose runs are all killed when the test is over."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from studio.config.workspace import Workspace
from studio.runs import devices
from studio.runs.devices import Device
from studio.runs.folder import RunFolder
from studio.runs.metrics import MetricsLog
from studio.runs.states import ENDED, State
from studio.runs.store import Job
from studio.runs.supervisor import Supervisor

REPOSITORY = Path(__file__).resolve().parents[2]
FAKE_WORKER = (sys.executable, str(REPOSITORY / "tests" / "fake_worker.py"))
PATIENCE_SECONDS = 40.0
T = TypeVar("T")


def load_fake_worker() -> Any:
    """The fake worker as a module, however pytest finds modules."""
    spec = importlib.util.spec_from_file_location("fake_worker", FAKE_WORKER[1])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wait_for(fact: Callable[[], T], what: str) -> T:
    """The first true value of `fact`; fails the test when there is none in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := fact()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:.0f} s in vain for {what}"
        time.sleep(0.02)
    return value


@dataclass
class Bench:
    """A workspace with a supervisor whose jobs are fake workers."""

    workspace: Workspace
    supervisor: Supervisor

    wait_for = staticmethod(wait_for)

    def submit(self, name: str = "run", config: str = "", **options: object) -> Job:
        return self.supervisor.submit(name, "train", config, **options)  # type: ignore[arg-type]

    def folder(self, name: str = "run") -> RunFolder:
        return self.supervisor.folder(name)

    def state(self, name: str = "run") -> State:
        return self.supervisor.job(name).state

    def ended(self, name: str = "run") -> Job:
        """The job once it has ended, without anybody reconciling."""
        wait_for(lambda: self.state(name) in ENDED, f"the end of {name}")
        return self.supervisor.job(name)

    def settled(self, name: str = "run") -> Job:
        """The job once it has ended, found out by reconcile if its shim is dead."""

        def over() -> bool:
            self.supervisor.reconcile()
            return self.state(name) in ENDED

        wait_for(over, f"the end of {name}")
        return self.supervisor.job(name)

    def training(self, name: str = "run", step: int = 1) -> RunFolder:
        """The run's folder once it trains and has logged `step`."""
        folder = self.folder(name)
        wait_for(lambda: folder.status().step > step and self.state(name) is State.RUNNING, f"step {step} of {name}")
        return folder

    def steps(self, name: str = "run") -> list[int]:
        """Steps in metrics.jsonl as the reader shows them."""
        log = MetricsLog(self.folder(name).metrics_file)
        log.poll()
        return log.points("loss")[0]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench on a machine with nothing but a CPU."""
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(REPOSITORY), inherited))))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    workspace = Workspace(tmp_path)
    yield Bench(workspace, Supervisor(workspace, FAKE_WORKER, stop_grace_seconds=5.0, kill_grace_seconds=5.0))
    kill_all_below(tmp_path)


@pytest.fixture
def make_checkpoint() -> Callable[[Path, int], None]:
    """The fake worker's way of writing a complete checkpoint."""
    return load_fake_worker().write_checkpoint


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, as far as the queue can tell; only for code in this process, not for shims."""
    monkeypatch.setattr(devices, "_gpus", lambda visible: [Device("cuda:0", "GPU"), Device("cuda:1", "GPU")])


def kill_all_below(path: Path) -> None:
    """Kill every process with a path below `path` among its arguments: shims and workers of this test."""
    everyone = psutil.process_iter(["cmdline"])
    own = [process for process in everyone if str(path) in " ".join(process.info["cmdline"] or ())]
    for process in own:
        if process.pid != os.getpid():
            process.kill()
    psutil.wait_procs(own, timeout=5)
