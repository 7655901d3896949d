"""P-tuning: embeddings in front of the input, made by a small network while training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.attach import attach


def peft_arguments(settings: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What peft's PromptEncoderConfig takes; `task` is CAUSAL_LM or SEQ_CLS."""
    return {
        "num_virtual_tokens": settings["virtual_tokens"],
        "encoder_reparameterization_type": settings["encoder"].upper(),
        "encoder_hidden_size": settings["encoder_width"],
        "task_type": task,
    }


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model with a new adapter, or with the one that it goes on with. Raises TaskError."""
    from peft import PromptEncoderConfig

    config = PromptEncoderConfig(**peft_arguments(method["settings"], method["task"]))
    return attach(model, config, method, workspace, notice)
