"""LongLoRA: LoRA with shifted sparse attention while training, and embeddings and norms trained along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.attach import attach
from studio.tasks.low_rank import low_rank_arguments


def peft_arguments(settings: Mapping[str, Any], task: str, beside: tuple[str, ...]) -> dict[str, Any]:
    """What peft's LoraConfig takes; `beside` are the names of the model's embeddings and norms."""
    saved = [*settings["modules_to_save"], *(beside if settings["train_embeddings"] else ())]
    return {**low_rank_arguments(settings, task), "modules_to_save": list(dict.fromkeys(saved)) or None}


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model with new adapters, or with those that it goes on with; it attends in groups while it trains.

    What is saved is a plain LoRA adapter. Raises TaskError.
    """
    from peft import LoraConfig

    from studio.tasks.shifted_attention import use_shifted_attention

    settings = method["settings"]
    use_shifted_attention(model, settings["group_share"])
    config = LoraConfig(**peft_arguments(settings, method["task"], embeddings_and_norms(model)))
    return attach(model, config, method, workspace, notice)


def embeddings_and_norms(model: Any) -> tuple[str, ...]:
    """The last words of the names of the input embedding and of all norms."""
    embedding = model.get_input_embeddings()
    found = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if module is embedding or type(module).__name__.endswith("Norm")
    }
    return tuple(sorted(found))
