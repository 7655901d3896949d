"""LoRA: two small matrices beside each chosen one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.attach import attach


def peft_arguments(settings: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What peft's LoraConfig takes; `task` is CAUSAL_LM or SEQ_CLS."""
    rank = settings["rank"]
    return {
        "r": rank,
        "lora_alpha": 2 * rank if settings["alpha"] is None else settings["alpha"],
        "lora_dropout": settings["dropout"],
        "target_modules": settings["target_modules"],
        "modules_to_save": list(settings["modules_to_save"]) or None,
        "task_type": task,
    }


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model with new adapters, or with those that it goes on with. Raises TaskError."""
    from peft import LoraConfig

    return attach(model, LoraConfig(**peft_arguments(method["settings"], method["task"])), method, workspace, notice)
