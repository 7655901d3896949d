"""What a folder with trained weights holds, read from its own words, without the training stack."""

from __future__ import annotations

from pathlib import Path

from studio.runs.atomic import read_json
from studio.runs.records import Fields

ADAPTER_CONFIG = "adapter_config.json"

SOFT_PROMPTS = frozenset({"PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING"})
"""Kinds of peft that stand in front of the input and leave the weights alone."""


def adapter_kind(folder: Path) -> str:
    """peft's name of the kind, such as LORA; "" where there is no adapter, or its file is damaged."""
    return Fields(read_json(folder / ADAPTER_CONFIG)).text("peft_type")


def gives_scores(folder: Path) -> bool:
    """Whether a reward model lies in `folder`, as an adapter or whole: it gives points and writes no words."""
    if (folder / ADAPTER_CONFIG).is_file():
        return Fields(read_json(folder / ADAPTER_CONFIG)).text("task_type") == "SEQ_CLS"
    names = Fields(read_json(folder / "config.json")).texts("architectures")
    return any(name.endswith("ForSequenceClassification") for name in names)


def is_soft_prompt(folder: Path) -> bool:
    """Whether the adapter in `folder` is put in front of the input, so that there is nothing to merge."""
    return adapter_kind(folder) in SOFT_PROMPTS
