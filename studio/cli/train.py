"""`studio train` and `studio check`: from words to a queued run, then its progress in the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from studio.config.io import check as examine
from studio.config.io import dump, override, parse, read_yaml
from studio.config.jobs import TrainConfig
from studio.runs.states import State


def tree_of(words: Sequence[str]) -> dict[str, object]:
    """The settings that the words mean: a YAML file first, if there is one, then assignments on top."""
    files = [word for word in words if "=" not in word]
    if len(files) > 1:
        raise FileNotFoundError(f"More than one config file was named: {', '.join(files)}. Name one.")
    text = Path(files[0]).read_text(encoding="utf-8") if files else ""
    return override(read_yaml(text), [word for word in words if "=" in word])


def train(options: argparse.Namespace) -> int:
    """Queue the run; follow it unless --detach. The exit code says how it ended."""
    from studio.cli.follow import follow
    from studio.cli.main import workspace
    from studio.runs.submission import submit_config
    from studio.runs.supervisor import Supervisor

    config: TrainConfig = parse(tree_of(options.words))
    supervisor = Supervisor(workspace(options))
    job = submit_config(supervisor, config, if_exists=options.if_exists)
    print(f"{job.name}: {supervisor.workspace.saves / job.name}")
    if options.detach:
        return 0
    ended = follow(supervisor, job.name)
    return 0 if ended in (State.FINISHED, State.STOPPED) else 1


def check(options: argparse.Namespace) -> int:
    """Print every fault and hint, and the whole config when it is sound."""
    config, faults = examine(tree_of(options.words))
    for fault in faults:
        print(f"{fault.severity}: {fault}", file=sys.stderr)
    if config is None or any(fault.severity == "fault" for fault in faults):
        return 2
    print(dump(config), end="")
    return 0
