"""BitLoRA: LoRA whose two matrices are held to 1 bit or 1.58 bits while training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.attach import attach
from studio.tasks.failures import TaskError
from studio.tasks.low_rank import low_rank_arguments


def peft_arguments(settings: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What BitLoraConfig takes; `task` is CAUSAL_LM or SEQ_CLS."""
    held = {"bits": settings["bits"], "quantize_activations": settings["quantize_activations"]}
    return {**low_rank_arguments(settings, task), **held}


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model with new adapters, or with those that it goes on with. Raises TaskError."""
    from studio.tasks.bitlora import BitLoraConfig, hold_to_bits

    config = BitLoraConfig(**peft_arguments(method["settings"], method["task"]))
    model = attach(model, config, method, workspace, notice)
    found = model.peft_config["default"]
    if found.bits != config.bits or found.quantize_activations != config.quantize_activations:
        raise TaskError(
            "method",
            f"The adapter that is continued was trained with method.bits={found.bits} and "
            f"method.quantize_activations={str(found.quantize_activations).lower()}.",
            "Set both to these values.",
        )
    hold_to_bits(model)
    return model
