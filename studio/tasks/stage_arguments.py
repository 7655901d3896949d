"""From the stage's settings to the arguments that its trainer takes beside those of every trainer: pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.stage import Sft
from studio.config.train import TrainConfig

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


_OF: Mapping[str, Callable[[TrainConfig], Arguments]] = {"sft": _tokens, "pretrain": _tokens}


def stage_arguments(config: TrainConfig) -> Arguments:
    """What the trainer of the config's stage takes from it."""
    return _OF[config.stage.type](config)
