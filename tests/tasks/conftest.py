"""Training runs inside the test's own process, so that torch is imported once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.config.io import parse
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag

TINY = {
    "model": {"path": "models/tiny"},
    "data": {"datasets": ["chat"], "cutoff_len": 128},
    "optimisation": {
        "learning_rate": 5e-3,
        "max_steps": 12,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "precision": "fp32",
    },
    "cadence": {"save_steps": 0},
    "trackers": {"report_to": []},
    "devices": {"use": "cpu", "cpu_threads": 1},
}


@dataclass(frozen=True)
class Outcome:
    """What a run left behind."""

    code: int
    folder: RunFolder

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every row of metrics.jsonl."""
        return [json.loads(line) for line in self.folder.metrics_file.read_text(encoding="utf-8").splitlines()]

    @property
    def losses(self) -> list[float]:
        """The training loss of each logged step."""
        return [row["loss"] for row in self.rows if "loss" in row]

    @property
    def notices(self) -> str:
        """All notices as one text."""
        return "\n".join(self.folder.status().notices)


def merged(*trees: dict[str, Any]) -> dict[str, Any]:
    """Mappings laid over each other, section by section."""
    result: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            old = result.get(key)
            result[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return result


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """What a run sets in the environment of this process ends with the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def train(workspace: Path) -> Callable[..., Outcome]:
    """A function (name, *changes, resume_from=None) that trains the tiny model in this process.

    With `stop_at` a request to stop is written when that step has been logged.
    """

    def call(name: str, *changes: dict[str, Any], resume_from: str | None = None, stop_at: int = 0) -> Outcome:
        from studio.tasks import train as task

        folder = RunFolder(workspace / "saves" / name)
        folder.path.mkdir(parents=True, exist_ok=True)
        config = parse(merged(TINY, *changes))
        folder.write_config(yaml.safe_dump(config.model_dump(mode="json")))
        job = JobSpec(name=name, kind="train", resume_from=resume_from)
        folder.write_job(job)
        folder.request_file.unlink(missing_ok=True)
        reporter = StoppingReporter(folder, stop_at) if stop_at else Reporter(folder)
        return Outcome(task.run(folder, job, config, reporter, StopFlag()), folder)

    return call


class StoppingReporter(Reporter):
    """Asks for the stop itself, when the run says that it has come so far."""

    def __init__(self, folder: RunFolder, stop_at: int) -> None:
        super().__init__(folder)
        self._run, self._stop_at = folder, stop_at

    def progress(self, step: int, total: int, eta_seconds: float | None = None, message: str = "") -> None:
        super().progress(step, total, eta_seconds, message)
        if self.status.phase == "training" and step == self._stop_at - 1:
            self._run.write_request("stop")
