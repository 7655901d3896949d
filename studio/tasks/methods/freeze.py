"""Freezing: some layers are trained, the others stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.failures import TaskError
from studio.tasks.layers import layer_number, train_new_head


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """Train the last n layers (the first when negative), or some modules of them, and every extra module.

    Raises TaskError for names that no module ends in.
    """
    settings = method["settings"]
    wanted, extra = settings["trainable_modules"], settings["extra_modules"]
    chosen = _chosen(model, settings["trainable_layers"])
    names = [name for name, _ in model.named_modules()]
    inside = [name for name in names if layer_number(name) in chosen]
    _check("trainable_modules", wanted, inside, "The trained layers have no module")
    _check("extra_modules", extra, names, "The model has no module")
    for name, parameter in model.named_parameters():
        parents = _parents(name.rpartition(".")[0])
        in_layer = layer_number(name) in chosen and (not wanted or _any_ends(parents, wanted))
        parameter.requires_grad_(in_layer or _any_ends(parents, extra))
    train_new_head(model, method["task"])
    return model


def _chosen(model: Any, layers: int) -> set[int]:
    """The numbers of the layers that are trained."""
    order = sorted({number for name, _ in model.named_parameters() if (number := layer_number(name)) is not None})
    if not order:
        raise TaskError("method", "The layers of this model are not numbered.", "Set method.type to full or lora.")
    if abs(layers) > len(order):
        raise TaskError(
            "method",
            f"The model has {len(order)} layers, and method.trainable_layers asks for {abs(layers)}.",
            f"Set it to {len(order)} at most.",
        )
    if not layers:
        return set()
    return set(order[-layers:] if layers > 0 else order[:-layers])


def _check(field: str, endings: Sequence[str], names: Sequence[str], said: str) -> None:
    """Raise TaskError for the first ending that no name has."""
    for ending in endings:
        if not any(_ends(name, ending) for name in names):
            own = sorted({name.rpartition(".")[2] for name in names if not name.rpartition(".")[2].isdigit()} - {""})
            raise TaskError("method", f"{said} {ending!r}.", f"Set method.{field} to some of: {', '.join(own)}.")


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _any_ends(names: Sequence[str], endings: Sequence[str]) -> bool:
    return any(_ends(name, ending) for name in names for ending in endings)


def _ends(name: str, ending: str) -> bool:
    return name == ending or name.endswith(f".{ending}")
