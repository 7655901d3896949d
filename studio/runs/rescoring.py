"""Saved answers scored anew by `studio evaluate --rescore` in a process of its own, without any model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.config.workspace import Workspace
from studio.runs.atomic import tail
from studio.runs.errors import RunActive

OUTPUT_BYTES = 4000


@dataclass
class Rescoring:
    """The scorings that this server began, by the names of their runs."""

    workspace: Workspace
    _begun: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, subprocess.Popen[bytes]])

    def start(self, name: str, words: Sequence[str]) -> None:
        """Score the answers of `name` anew with the settings in `words`. Raises RunActive, OSError."""
        if self.working(name):
            raise RunActive(f"The answers of {name} are being scored just now. Wait until that has ended.")
        output = self._output(name)
        output.parent.mkdir(parents=True, exist_ok=True)
        line = [sys.executable, "-m", "studio", "evaluate", "--workspace", str(self.workspace.root)]
        with output.open("wb") as file:
            self._begun[name] = subprocess.Popen(
                [*line, "--rescore", name, *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                cwd=self.workspace.root, env=_environment(os.environ),
            )  # fmt: skip

    def working(self, name: str) -> bool:
        """Whether this server is scoring that run."""
        begun = self._begun.get(name)
        return begun is not None and begun.poll() is None

    def trouble(self, name: str) -> str:
        """What the last scoring of that run said when it failed, once; "" otherwise."""
        begun = self._begun.get(name)
        if begun is None or begun.poll() is None:
            return ""
        del self._begun[name]
        return tail(self._output(name), OUTPUT_BYTES).strip() if begun.returncode else ""

    def _output(self, name: str) -> Path:
        return self.workspace.cache / "rescoring" / f"{name}.txt"


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """This very studio comes first where Python looks for modules."""
    own = str(Path(__file__).resolve().parents[2])
    return {**given, "PYTHONPATH": os.pathsep.join(filter(None, (own, given.get("PYTHONPATH", ""))))}
