"""AdaLoRA: matrices in the form of a singular value decomposition, whose least important directions are cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.arguments import Plan
from studio.tasks.attach import attach


def peft_arguments(settings: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What peft's AdaLoraConfig takes but for the steps, which only the trainer knows; `task` as in LoRA."""
    return {
        "init_r": settings["initial_rank"],
        "target_r": settings["target_rank"],
        "lora_alpha": settings["alpha"],
        "lora_dropout": settings["dropout"],
        "orth_reg_weight": settings["orthogonality"],
        "target_modules": settings["target_modules"],
        "modules_to_save": list(settings["modules_to_save"]) or None,
        "task_type": task,
    }


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model with a new adapter, or with the one that it goes on with. Raises TaskError."""
    from peft import AdaLoraConfig

    # peft wants a number of steps already here; RankCutting puts the true one in its place.
    config = AdaLoraConfig(**peft_arguments(method["settings"], method["task"]), total_step=1)
    return attach(model, config, method, workspace, notice)


def callbacks(model: Any, method: Mapping[str, Any], plan: Plan) -> Sequence[Any]:
    """The callback that cuts ranks; the pull towards orthogonal matrices is made one of a whole step."""
    from studio.tasks.rank_cutting import RankCutting

    settings = method["settings"]
    return [RankCutting(model, settings, plan.trainer["gradient_accumulation_steps"])]
