"""What every part of an export is given: the subject, the draft folder, the formats, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.config.export import ExportConfig
from studio.config.workspace import Workspace
from studio.runs.export_subject import Subject
from studio.tasks.machine import Machine
from studio.tasks.status import Reporter

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Work:
    """One export. `draft` becomes the export; `scratch` is for what is needed on the way and is removed."""

    workspace: Workspace
    config: ExportConfig
    subject: Subject
    draft: Path
    scratch: Path
    machine: Machine
    reporter: Reporter

    def progress(self, done: int, total: int) -> None:
        """Megabytes written, of all."""
        self.reporter.progress(done // 1_000_000, max(1, total // 1_000_000), message="MB written")


@dataclass(frozen=True)
class Written:
    """What a writer made. `request` says how a probe loads it; None: another runtime measures it, by `probe`.

    `exact` says that the format keeps all that the tuned model has; `facts` go into the results.
    """

    exact: bool
    dtype: str = "auto"
    request: Mapping[str, Any] = field(default_factory=dict[str, Any])
    probe: Callable[[Mapping[str, Any], Path], dict[str, Any]] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    not_compared: str = ""  # why no runtime here can load it
    rows: tuple[dict[str, Any], ...] = ()  # held back from calibration, for perplexity
