"""From the settings of stage ppo to the arguments of its trainer: pure."""

from __future__ import annotations

from typing import Any

from studio.config.online_stages import Ppo
from studio.config.rules import has_validation
from studio.config.train import TrainConfig
from studio.tasks.online_arguments import BEST

# These say what is rewarded, which the scorer is made of, not the trainer.
OF_THE_REWARD = {"rewards", "reward_model", "reward_weights", "reward_arguments"}


def ppo_arguments(config: TrainConfig) -> dict[str, Any]:
    """What PpoArguments takes beside the arguments of every trainer."""
    assert isinstance(config.stage, Ppo)
    return {
        "remove_unused_columns": False,  # the rows themselves are handed on, not tensors
        **config.stage.model_dump(exclude={"type", *OF_THE_REWARD}),
        **(BEST if has_validation(config) and config.cadence.eval_steps > 0 else {}),
    }
