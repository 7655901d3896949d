"""Put a PEFT adapter beside a model for training: a new one, or one to go on with. All adapter methods do it here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.adapter import adapter_folder, load, merged_into_whole
from studio.tasks.failures import TaskError
from studio.tasks.quantized import linear_names
from studio.tasks.vocabulary import trained_rows

Notice = Callable[[str], None]


def attach(model: Any, config: Any, method: Mapping[str, Any], workspace: Workspace, notice: Notice) -> Any:
    """The model with an adapter of `config` (a PeftConfig), or with the one that the plan's `method` goes on with.

    Raises TaskError for modules that the model has not, and for adapters that do not fit.
    """
    from peft import get_peft_model

    if getattr(config, "target_modules", None) == "all-linear":
        config.target_modules = linear_names(model) or "all-linear"
    if hasattr(config, "trainable_token_indices"):
        config.trainable_token_indices = trained_rows(model, config.modules_to_save or ())
    folders = [adapter_folder(path, workspace) for path in method["adapters"]]
    if folders and method["settings"].get("create_new_adapter"):
        model, folders = merged_into_whole(model, folders), []
    if folders:
        return _continued(model, folders, config, method, notice)
    try:
        return get_peft_model(model, config, autocast_adapter_dtype=method["float32"])
    except ValueError as error:
        if "arget modules" not in str(error):
            raise
        names = sorted({name.rpartition(".")[2] for name, _ in model.named_modules() if "_proj" in name})
        raise TaskError(
            "method",
            f"The model has no modules named {_named(config.target_modules)}.",
            f"Set method.target_modules to all-linear or to some of its own: {', '.join(names)}.",
        ) from error


def _continued(model: Any, folders: list[Path], config: Any, method: Mapping[str, Any], notice: Notice) -> Any:
    """All adapters but the last are merged into the base; the last one is trained on."""
    model = load(merged_into_whole(model, folders[:-1]), folders[-1], trainable=True, float32=method["float32"])
    found = model.peft_config["default"]
    if type(found) is not type(config):
        raise TaskError(
            "method",
            f"The adapter in {method['adapters'][-1]} is of type {_kind(found)}, "
            f"and method.type={method['type']} trains {_kind(config)}.",
            "Choose the method that made the adapter, or merge it into a model first and choose that one.",
        )
    if (getattr(found, "r", None), getattr(found, "lora_alpha", None)) != (
        getattr(config, "r", None),
        getattr(config, "lora_alpha", None),
    ):
        notice(
            f"The adapter that is continued keeps its own rank {found.r} and alpha {found.lora_alpha}; "
            "method.rank and method.alpha do not apply."
        )
    return model


def _kind(config: Any) -> str:
    """What an adapter is called; BitLoRA is LORA to peft and has a config of its own."""
    return type(config).__name__.removesuffix("Config")


def _named(targets: Any) -> Any:
    """Modules as a config spells them; peft keeps a set."""
    return sorted(targets) if isinstance(targets, set) else targets
