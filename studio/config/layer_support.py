"""Methods that count layers, held against config.json of the chosen model before a start, where it lies here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from studio.config.faults import Fault
from studio.config.jobs import JobConfig
from studio.config.method import Freeze, LlamaPro
from studio.config.workspace import OutsideWorkspace, Workspace

_KEYS = ("num_hidden_layers", "n_layer", "num_layers")


def layer_faults(workspace: Workspace, config: JobConfig) -> list[Fault]:
    """Numbers of layers that the model of a training run cannot have. Empty where the model is not here yet."""
    method, model = getattr(config, "method", None), getattr(config, "model", None)
    if model is None or not isinstance(method, (LlamaPro, Freeze)):
        return []
    try:
        layers = _layers(workspace.resolve(str(model.path)))
    except OutsideWorkspace:
        return []  # said at the model
    if layers is None:
        return []
    if isinstance(method, LlamaPro) and layers % method.new_layers:
        fits = ", ".join(str(count) for count in range(1, layers + 1) if layers % count == 0)
        return [Fault("method.new_layers", "layers_not_even", method.new_layers, {"layers": layers, "fits": fits})]
    if isinstance(method, Freeze) and abs(method.trainable_layers) > layers:
        return [Fault("method.trainable_layers", "layers_too_many", method.trainable_layers, {"layers": layers})]
    return []


def _layers(folder: Path) -> int | None:
    """How many layers the model in a folder has, None where no readable config.json says so."""
    try:
        tree: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = tree.get("text_config", tree)
        found = next((text[key] for key in _KEYS if key in text), None)
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return found if isinstance(found, int) and found > 0 else None
