"""A workspace for the terminal: its runs are fake workers, and all of them are killed when the test is over."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import yaml

from studio.cli.main import main
from studio.config.io import dump, parse
from studio.config.workspace import Workspace
from studio.runs import launch
from studio.runs.folder import RunFolder
from studio.runs.states import ENDED, State
from studio.runs.supervisor import Supervisor
from tests.cli.studio_fake import FAKE_WORKER

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 30.0
T = TypeVar("T")


def wait_for(fact: Callable[[], T], what: str) -> T:
    """The first true value of `fact`; fails the test when there is none in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := fact()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:.0f} s in vain for {what}"
        time.sleep(0.02)
    return value


@dataclass
class Terminal:
    """Types commands in a workspace and reads what they say."""

    root: Path
    capture: pytest.CaptureFixture[str]
    supervisor: Supervisor

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of `studio WORDS`, in this process."""
        self.capture.readouterr()
        try:
            code = main([*words, "--workspace", str(self.root)])
        except SystemExit as error:  # how argparse refuses words
            code = int(error.code or 0)
        said = self.capture.readouterr()
        return code, said.out, said.err

    @property
    def fake(self) -> Sequence[str]:
        """The beginning of a command line for a process of its own."""
        return (sys.executable, str(ROOT / "tests" / "cli" / "studio_fake.py"))

    def write(self, name: str, **changes: Any) -> str:
        """A config file in the workspace; its path."""
        tree = {"model": {"path": "models/x"}, "data": {"datasets": ["chat"]}, **changes}
        (self.root / name).write_text(yaml.safe_dump(tree), encoding="utf-8")
        return str(self.root / name)

    def begin(self, name: str = "run", steps: int = 1000, **options: Any) -> RunFolder:
        """A queued run; the folder."""
        tree = {"name": name, "model": {"path": "models/x"}, "data": {"datasets": ["chat"]}}
        text = dump(parse({**tree, "optimisation": {"max_steps": steps}}))
        self.supervisor.submit(name, "train", text, **options)
        return self.folder(name)

    def folder(self, name: str = "run") -> RunFolder:
        return self.supervisor.folder(name)

    def state(self, name: str = "run") -> State:
        return self.supervisor.job(name).state

    def trains(self, name: str = "run", step: int = 2) -> None:
        """Wait until the run has made that step."""
        wait_for(lambda: self.folder(name).status().step > step and self.state(name) is State.RUNNING, f"step {step}")

    def over(self, name: str = "run") -> State:
        """Wait until the run has ended; its state."""
        wait_for(lambda: self.state(name) in ENDED, f"the end of {name}")
        return self.state(name)


@pytest.fixture
def studio(
    data_workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    """The terminal of a machine without a GPU; steps of its runs take a hundredth of a second."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(launch, "default_worker", lambda: FAKE_WORKER)
    workspace = Workspace(data_workspace)
    yield Terminal(data_workspace, capsys, Supervisor(workspace, stop_grace_seconds=5.0, kill_grace_seconds=5.0))
    kill_all_below(data_workspace)


def kill_all_below(path: Path) -> None:
    """Kill every process with a path below `path` among its arguments: shims, workers and boards of this test."""
    own = [one for one in psutil.process_iter(["cmdline"]) if str(path) in " ".join(one.info["cmdline"] or ())]
    for process in own:
        if process.pid != os.getpid():
            process.kill()
    psutil.wait_procs(own, timeout=5)
