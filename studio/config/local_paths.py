"""Local paths that a config names, held against the workspace: a page may not reach beyond it."""

from __future__ import annotations

from collections.abc import Iterator

from studio.config.faults import Fault
from studio.config.jobs import JobConfig
from studio.config.leaves import applies, leaves, value_at
from studio.config.rewards import own_function
from studio.config.workspace import OutsideWorkspace, Workspace

# Providers of choices whose values are paths, or names on a hub, which are looked for in the workspace first.
_PATHS = ("models", "adapters", "reward_models")
_REWARDS = "rewards"


def outside_faults(workspace: Workspace, config: JobConfig) -> Iterator[Fault]:
    """A fault for each model, adapter or reward of one's own that lies neither in the workspace nor in a folder that
    the operator listed, and for a file of rewards that is not there."""
    for leaf in leaves(type(config)):
        if leaf.choices is None or not applies(config, leaf):
            continue
        value: str | list[str] | None = value_at(config, leaf)
        for text in [value] if isinstance(value, str) else value or []:
            if leaf.choices.provider in _PATHS:
                yield from _outside(workspace, leaf.path, text)
            elif leaf.choices.provider == _REWARDS and (own := own_function(text)):
                yield from _outside(workspace, leaf.path, own[0]) or _missing(workspace, leaf.path, own[0])


def _outside(workspace: Workspace, path: str, text: str) -> list[Fault]:
    try:
        workspace.resolve(text)
    except OutsideWorkspace:
        return [Fault(path, "outside_workspace", text)]
    return []


def _missing(workspace: Workspace, path: str, text: str) -> list[Fault]:
    return [] if workspace.resolve(text).is_file() else [Fault(path, "no_such_path", text)]
