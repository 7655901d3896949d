"""From the stage's settings to the arguments that its trainer takes beside those of every trainer: pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.stage import Sft
from studio.config.train import TrainConfig
from studio.tasks.online_arguments import group_arguments
from studio.tasks.ppo_arguments import ppo_arguments
from studio.tasks.preference_arguments import preference_arguments

Arguments = dict[str, Any]


def packs(config: TrainConfig) -> bool:
    """Whether the trainer packs conversations; plain text is cut into blocks before it."""
    return isinstance(config.stage, Sft) and config.data.packing


def _tokens(config: TrainConfig) -> Arguments:
    """Rows are cut and masked before the trainer sees them; it may only pack them."""
    packing = packs(config)
    return {
        "packing": packing,
        "packing_strategy": "bfd",
        "eval_packing": False,
        "max_length": config.data.cutoff_len if packing else None,
        "dataset_num_proc": config.data.tokenizing_processes if config.data.tokenizing_processes > 1 else None,
        "dataset_kwargs": {"skip_prepare_dataset": not packing},
        "shuffle_dataset": False,
    }


_OF: Mapping[str, Callable[[TrainConfig], Arguments]] = {
    "sft": _tokens,
    "pretrain": _tokens,
    "dpo": preference_arguments,
    "kto": preference_arguments,
    "orpo": preference_arguments,
    "simpo": preference_arguments,
    "reward": preference_arguments,
    "grpo": group_arguments,
    "rloo": group_arguments,
    "ppo": ppo_arguments,
}


def stage_arguments(config: TrainConfig) -> Arguments:
    """What the trainer of the config's stage takes from it."""
    return _OF[config.stage.type](config)
