"""What every panel of the Train tab is given, and how panels and their scripts are found: one file for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from studio.config.io import parse
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.runs.supervisor import Supervisor
from studio.web.asking import Action, Reply, Request, answer
from studio.web.shown_values import collect
from studio.web.start import Starter


@dataclass(frozen=True)
class TrainRoom:
    """The workspace, the supervisor that queues runs, and what a start would meet."""

    workspace: Workspace
    supervisor: Supervisor
    starter: Starter


class TrainView:
    """The one server function of the Train tab: `train` does what a request names in `action`, as `<panel>.<verb>`.

    A panel is a module `studio/web/train_<panel>.py` with `actions(room)`, which gives its verbs, and a script
    `static/train_<panel>.js`. The form itself is one of them. Nothing is kept between two requests.
    """

    def __init__(self, room: TrainRoom) -> None:
        self.actions: dict[str, Action] = {}
        for name, module in _panels():
            for verb, action in module.actions(room).items():
                self.actions[f"{name}.{verb}"] = action

    def train(self, request: Request) -> Reply:
        """The panel's answer, or `error`: what went wrong and the way out."""
        return answer(self.actions, request)


def _panels() -> list[tuple[str, Any]]:
    """Every module beside this one that is called train_<panel> and has `actions`."""
    names = sorted(found.name for found in iter_modules([str(Path(__file__).parent)]))
    modules = [(name, import_module(f"studio.web.{name}")) for name in names if name.startswith("train_")]
    return [(name.removeprefix("train_"), module) for name, module in modules if hasattr(module, "actions")]


def values_of(request: Request) -> Mapping[str, Any]:
    """What the fields of the form show, by leaf key."""
    values = request.get("values")
    return values if isinstance(values, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def tree_of(request: Request) -> dict[str, Any]:
    """The tree of the config as the fields spell it, whatever is wrong with it."""
    return collect(TrainConfig, values_of(request))


def config_of(request: Request) -> TrainConfig:
    """The config that the fields show. Raises ConfigError."""
    return parse(tree_of(request))
