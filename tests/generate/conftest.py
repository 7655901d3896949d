"""A workspace whose jobs let a fake endpoint write rows: in this process for speed, or as the real worker."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from studio.config.generate import GenerateConfig
from studio.config.io import dump, parse
from studio.config.workspace import Workspace
from studio.data.generated import Generated, read_generated
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec, Status
from studio.runs.states import ENDED
from studio.runs.store import Job
from studio.runs.submission import submit_config
from studio.runs.supervisor import Supervisor
from studio.tasks import generate
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag
from tests.fake_endpoint import FakeEndpoint

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-very-secret-4711"
PATIENCE_SECONDS = 40.0
T = TypeVar("T")


def wait_for(fact: Callable[[], T], what: str) -> T:
    """The first true value of `fact`; fails the test when there is none in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := fact()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:.0f} s in vain for {what}"
        time.sleep(0.02)
    return value


@dataclass
class Study:
    """A workspace with seed tasks (`chat`) and a folder `docs`, and jobs in it."""

    root: Path
    supervisor: Supervisor

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.root / "saves" / "run")

    @property
    def generated(self) -> Generated:
        return read_generated(self.folder.path)

    @property
    def status(self) -> Status:
        return self.folder.status()

    def config(self, server: FakeEndpoint | str, **changes: Any) -> GenerateConfig:
        """A config for a run called `run`; sections in `changes` are laid over it."""
        base_url = server if isinstance(server, str) else server.base_url
        tree: dict[str, Any] = {"name": "run", "source": {"dataset": "chat"}, "rows": {"count": 12}}
        tree["endpoint"] = {"base_url": base_url, "model": "fake", "backoff": 0.02, "timeout": 10}
        for section, values in changes.items():
            tree[section] = values if section == "source" else {**tree.get(section, {}), **values}
        return parse(tree, GenerateConfig)

    def here(self, server: FakeEndpoint, stop: StopFlag | None = None, **changes: Any) -> int:
        """Run a job in this process, on from what the folder holds; the exit code."""
        config = self.config(server, **changes)
        self.folder.path.mkdir(parents=True, exist_ok=True)
        self.folder.write_config(dump(config))
        return generate.run(self.folder, JobSpec(name="run"), config, Reporter(self.folder), stop or StopFlag())

    def begin(self, server: FakeEndpoint | str, **changes: Any) -> None:
        """Queue a job for the real worker."""
        submit_config(self.supervisor, self.config(server, **changes))

    def over(self) -> Job:
        """The job once it has ended."""

        def ended() -> bool:
            self.supervisor.reconcile()
            return self.supervisor.job("run").state in ENDED

        wait_for(ended, "the end of the job")
        return self.supervisor.job("run")

    def files_with(self, text: str) -> list[str]:
        """Files below the workspace that hold `text`."""
        return [
            str(path.relative_to(self.root))
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and text.encode() in path.read_bytes()
        ]


@pytest.fixture
def study(data_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (data_workspace / "docs").mkdir()
    text = "\n\n".join(f"Part {number}. " + "The river carries sand to the sea. " * 20 for number in range(1, 7))
    (data_workspace / "docs" / "rivers.md").write_text(text, encoding="utf-8")
    yield Study(data_workspace, Supervisor(Workspace(data_workspace), stop_grace_seconds=5.0, kill_grace_seconds=10.0))
    own = [
        one for one in psutil.process_iter(["cmdline"]) if str(data_workspace) in " ".join(one.info["cmdline"] or ())
    ]
    for process in own:
        if process.pid != os.getpid():
            process.kill()
    psutil.wait_procs(own, timeout=5)
