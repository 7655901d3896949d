"""What peft takes for the settings that LoRA and its relatives share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.config.targets import chosen_targets


def low_rank_arguments(settings: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Arguments of peft's LoraConfig for the settings of `_LowRank`; `task` is CAUSAL_LM or SEQ_CLS."""
    rank = settings["rank"]
    return {
        "r": rank,
        "lora_alpha": 2 * rank if settings["alpha"] is None else settings["alpha"],
        "lora_dropout": settings["dropout"],
        "target_modules": chosen_targets(settings["target_modules"]),
        "modules_to_save": list(settings["modules_to_save"]) or None,
        "task_type": task,
    }
