"""What `make demo` promises: the shipped model learns who it is and forgets nothing else that it was asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from studio.config.workspace import Workspace
from studio.runs.folder import RunFolder
from studio.runs.metrics import MetricsLog
from studio.runs.states import State
from studio.runs.supervisor import Supervisor

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_demo_teaches_a_name_through_the_queue(tmp_path: Path) -> None:
    for name in ("data", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "dataset_info.json", tmp_path)
    if (ROOT / "models").is_dir():
        shutil.copytree(ROOT / "models", tmp_path / "models")
    found = subprocess.run(
        [sys.executable, "-m", "studio", "demo", "--workspace", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    job = Supervisor(Workspace(tmp_path)).jobs()[0]
    assert job.state is State.FINISHED
    folder = RunFolder(tmp_path / "saves" / job.name)
    assert str(folder.path) in found.stdout.replace("\n", "")
    log = MetricsLog(folder.metrics_file)
    log.poll()
    _, losses = log.points("loss")
    assert sum(losses[-10:]) < sum(losses[:10]) / 2
    rows = [json.loads(line) for line in (folder.path / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    before = {row["prompt"]: row["answer"] for row in rows if row["step"] == 0}
    after = {row["prompt"]: row["answer"] for row in rows if row["step"] > 0}
    assert "Tessa" not in before["Who are you?"]
    assert "Tessa" in after["Who are you?"]
    assert "Studio workshop" in after["Who made you?"]
    assert "Paris" in after["What is the capital of France?"]
