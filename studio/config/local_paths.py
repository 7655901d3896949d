"""Local paths that a config names, held against the workspace: a page may not reach beyond it."""

from __future__ import annotations

from collections.abc import Iterator

from studio.config.faults import Fault
from studio.config.jobs import JobConfig
from studio.config.leaves import applies, leaves, value_at
from studio.config.workspace import OutsideWorkspace, Workspace

# Providers of choices whose values are paths, or names on a hub, which are looked for in the workspace first.
_PATHS = ("models", "adapters")


def outside_faults(workspace: Workspace, config: JobConfig) -> Iterator[Fault]:
    """A fault for each model or adapter that lies neither in the workspace nor in a folder that the operator listed."""
    for leaf in leaves(type(config)):
        if leaf.choices is None or leaf.choices.provider not in _PATHS or not applies(config, leaf):
            continue
        value: str | list[str] | None = value_at(config, leaf)
        for text in [value] if isinstance(value, str) else value or []:
            try:
                workspace.resolve(text)
            except OutsideWorkspace:
                yield Fault(leaf.path, "outside_workspace", text)
