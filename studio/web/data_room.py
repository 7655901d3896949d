"""What every panel of the Data tab is given, and how panels and their scripts are found: one file for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.runs.supervisor import Supervisor
from studio.web.asking import Action, Reply, Request, answer
from studio.web.data_files import Tickets


@dataclass(frozen=True)
class DataRoom:
    """The workspace whose datasets the tab shows, the supervisor that starts jobs, tickets for files on their way."""

    workspace: Workspace
    supervisor: Supervisor
    tickets: Tickets = field(default_factory=Tickets)


class DataView:
    """The one server function of the Data tab: `data` does what a request names in `action`, as `<panel>.<verb>`.

    A panel is a module `studio/web/data_<panel>.py` with `actions(room)`, which gives its verbs, and a script
    `static/data_<panel>.js`. Everything that is kept can be lost and made again.
    """

    def __init__(self, room: DataRoom) -> None:
        self.actions: dict[str, Action] = {}
        for name, module in _panels():
            for verb, action in module.actions(room).items():
                self.actions[verb if "." in verb else f"{name}.{verb}"] = action

    def data(self, request: Request) -> Reply:
        """The panel's answer, or `error`: what went wrong and the way out."""
        return answer(self.actions, request)


def _panels() -> list[tuple[str, Any]]:
    """Every module beside this one that is called data_<panel> and has `actions`."""
    names = sorted(found.name for found in iter_modules([str(Path(__file__).parent)]))
    modules = [(name, import_module(f"studio.web.{name}")) for name in names if name.startswith("data_")]
    return [(name.removeprefix("data_"), module) for name, module in modules if hasattr(module, "actions")]


def named(request: Request, key: str = "name") -> str:
    """The text under `key`. Raises DataError when the request has none."""
    value = request.get(key)
    if isinstance(value, str) and value:
        return value
    raise DataError(f"The request names no {key}.")


def number(request: Request, key: str, otherwise: int) -> int:
    """The whole number under `key`, or `otherwise`. Raises DataError for anything else."""
    value = request.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(f"{key} must be a whole number, but is {value!r}.")
    return value
