"""Freezing: some layers are trained, the others stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.failures import TaskError

LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block|layer)\.(\d+)\.")


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """Train the last n layers (the first when negative) and every module whose name ends in an extra one."""
    settings = method["settings"]
    layers, extra_modules = settings["trainable_layers"], settings["extra_modules"]
    numbers = {int(found.group(1)) for name, _ in model.named_parameters() if (found := LAYER.search(name))}
    if not numbers:
        raise TaskError("method", "The layers of this model are not numbered.", "Set method.type to full or lora.")
    order = sorted(numbers)
    chosen = set(order[-layers:] if layers > 0 else order[:-layers]) if layers else set[int]()
    unknown = [extra for extra in extra_modules if not any(_ends(name, extra) for name, _ in model.named_modules())]
    if unknown:
        raise TaskError("method", f"The model has no module {unknown[0]!r}.", "Correct method.extra_modules.")
    for name, parameter in model.named_parameters():
        found = LAYER.search(name)
        in_layer = found is not None and int(found.group(1)) in chosen
        module = name.rpartition(".")[0]
        extra = any(_ends(parent, wanted) for parent in _parents(module) for wanted in extra_modules)
        parameter.requires_grad_(in_layer or extra)
    return model


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _ends(name: str, ending: str) -> bool:
    return name == ending or name.endswith(f".{ending}")
