"""Local paths that a config names, held against the workspace: a page may not reach beyond it."""

from __future__ import annotations

from collections.abc import Iterator

from studio.config.faults import Fault
from studio.config.jobs import TrainConfig
from studio.config.workspace import OutsideWorkspace, Workspace


def outside_faults(workspace: Workspace, config: TrainConfig) -> Iterator[Fault]:
    """A fault for each model or adapter that lies neither in the workspace nor in a folder that the operator listed."""
    for field, texts in (("model.path", [config.model.path]), ("model.adapters", config.model.adapters)):
        for text in texts:
            try:
                workspace.resolve(text)
            except OutsideWorkspace:
                yield Fault(field, "outside_workspace", text)
