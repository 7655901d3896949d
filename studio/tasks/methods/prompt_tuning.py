"""Prompt tuning: trained embeddings in front of the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.attach import attach


def peft_arguments(settings: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What peft's PromptTuningConfig takes but for the tokenizer of an initial text; `task` is CAUSAL_LM or SEQ_CLS."""
    text = settings["initial_text"]
    return {
        "num_virtual_tokens": settings["virtual_tokens"],
        # Embeddings of real words train faster and end better than random numbers (arXiv 2104.08691, figure 3b).
        "prompt_tuning_init": "TEXT" if text else "SAMPLE_VOCAB",
        "prompt_tuning_init_text": text or None,
        "task_type": task,
    }


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model with new vectors in front of its input. Raises TaskError."""
    from peft import PromptTuningConfig

    arguments = peft_arguments(method["settings"], method["task"])
    if arguments["prompt_tuning_init"] == "TEXT":
        # The model was loaded from this folder or id a moment ago, so its tokenizer is at hand without a network.
        arguments["tokenizer_name_or_path"] = model.config.name_or_path
    return attach(model, PromptTuningConfig(**arguments), method, workspace, notice)
