"""Full training: every weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.workspace import Workspace


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model as it was loaded: all of it is trainable."""
    return model
