"""LoHa: the element-wise product of two low-rank matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.attach import attach


def peft_arguments(settings: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What peft's LoHaConfig takes; `task` is CAUSAL_LM or SEQ_CLS."""
    return {
        "r": settings["rank"],
        "alpha": settings["alpha"],
        "rank_dropout": settings["dropout"],
        "target_modules": settings["target_modules"],
        "modules_to_save": list(settings["modules_to_save"]) or None,
        "task_type": task,
    }


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model with a new adapter, or with the one that it goes on with. Raises TaskError."""
    from peft import LoHaConfig

    return attach(model, LoHaConfig(**peft_arguments(method["settings"], method["task"])), method, workspace, notice)
