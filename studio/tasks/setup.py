"""What a stage has at hand when it reads its data, loads its model and builds its trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.tasks.arguments import Plan
from studio.tasks.machine import Machine
from studio.tasks.status import Reporter


@dataclass(frozen=True)
class Setup:
    """`source` is the model's folder or id, `template` the text of the chat template, "" for plain text."""

    config: TrainConfig
    plan: Plan
    workspace: Workspace
    machine: Machine
    source: str
    tokenizer: Any
    template: str
    reporter: Reporter
