"""Mixture-of-Depths: every weight is trained, and some layers compute a share of the tokens alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.workspace import Workspace


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model with routed layers; one that has them already keeps which they are. Raises TaskError."""
    from studio.tasks.routed_model import KEY, continue_routed, is_routed, make_routed

    settings = method["settings"]
    if is_routed(model):
        continue_routed(model, settings["capacity"], settings["every"])
    else:
        make_routed(model, settings["capacity"], settings["every"])
    shown = ", ".join(str(number) for number in getattr(model.config, KEY)["layers"])
    notice(f"Routed layers: {shown}. Each computes {settings['capacity']:.0%} of the tokens while training.")
    return model
