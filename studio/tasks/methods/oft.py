"""OFT: the inputs of each chosen matrix are turned in blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.attach import attach


def peft_arguments(settings: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What peft's OFTConfig takes; `task` is CAUSAL_LM or SEQ_CLS."""
    return {
        # One of the two follows from the other.
        "r": 0,
        "oft_block_size": settings["block_size"],
        "module_dropout": settings["dropout"],
        "target_modules": settings["target_modules"],
        "modules_to_save": list(settings["modules_to_save"]) or None,
        "task_type": task,
    }


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model with a new adapter, or with the one that it goes on with. Raises TaskError."""
    from peft import OFTConfig

    return attach(model, OFTConfig(**peft_arguments(method["settings"], method["task"])), method, workspace, notice)
