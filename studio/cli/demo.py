"""`studio demo`: the shipped model learns who it is, through the same queue as every other run."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from studio.config.io import load_config
from studio.runs.folder import RunFolder
from studio.runs.states import State

CONFIG = Path("configs") / "demo.yaml"


def demo(options: argparse.Namespace) -> int:
    """Fetch the model if need be, train, then show the answers before and after, and where the run lies."""
    from studio.cli.follow import follow
    from studio.cli.main import workspace
    from studio.runs.submission import submit_config
    from studio.runs.supervisor import Supervisor

    place = workspace(options)
    config = load_config(place.root / CONFIG)
    fetched = subprocess.run([sys.executable, "-m", "studio.tasks.shipped", str(place.root)], check=False)
    if fetched.returncode != 0:
        return 1
    supervisor = Supervisor(place)
    job = submit_config(supervisor, config)
    ended = follow(supervisor, job.name)
    if ended is not State.FINISHED:
        return 1
    folder = supervisor.folder(job.name)
    console = Console()
    console.print(answers(folder))
    console.print(f"The run lies in {folder.path}")
    console.print("See its curves: `studio webui`, tab Runs. Run `studio demo` again for another one.")
    return 0


def answers(folder: RunFolder) -> Table:
    """What the model said to each question before and after the training."""
    table = Table(title="Before and after", show_lines=True)
    for column in ("question", "before", "after"):
        table.add_column(column, ratio=1)
    found: dict[str, list[str]] = {}
    for line in (folder.path / "samples.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["prompt"], []).append(row["answer"])
    for prompt, said in found.items():
        table.add_row(prompt, said[0], said[-1])
    return table
