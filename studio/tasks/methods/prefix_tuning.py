"""Prefix tuning: trained keys and values in front of those of the input, in every layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.attach import attach


def peft_arguments(settings: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What peft's PrefixTuningConfig takes; `task` is CAUSAL_LM or SEQ_CLS."""
    return {
        "num_virtual_tokens": settings["virtual_tokens"],
        "prefix_projection": settings["projection"],
        "task_type": task,
    }


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model with new keys and values in front of its cache. Raises TaskError."""
    from peft import PrefixTuningConfig

    arguments = peft_arguments(method["settings"], method["task"])
    if arguments["prefix_projection"]:
        arguments["encoder_hidden_size"] = model.config.get_text_config().hidden_size
    return attach(model, PrefixTuningConfig(**arguments), method, workspace, notice)
