"""From the settings of the stages grpo and rloo to the arguments of their trainers, and to the rewards: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.config.online_stages import Grpo, Ppo, Rloo
from studio.config.rewards import REWARD_MODEL, arguments_of
from studio.config.rules import has_validation
from studio.config.train import TrainConfig

Arguments = dict[str, Any]

BEST = {"metric_for_best_model": "eval_reward", "greater_is_better": True}
"""The best state of a model that learns from points has the most of them; the loss says nothing here."""


def group_arguments(config: TrainConfig) -> Arguments:
    """What the trainers take that compare answers to one prompt with each other."""
    stage = config.stage
    assert isinstance(stage, (Grpo, Rloo))
    own = _grpo(stage) if isinstance(stage, Grpo) else {"normalize_advantages": stage.normalize_advantages}
    return {
        "max_completion_length": stage.max_completion_length,
        "temperature": stage.temperature,
        "top_p": stage.top_p,
        "num_generations": stage.num_generations,
        # In an evaluation nothing is compared: each prompt is answered once.
        "num_generations_eval": 1,
        "num_iterations": stage.num_iterations,
        "epsilon": stage.epsilon,
        "beta": stage.beta,
        "reward_weights": [reward["weight"] for reward in reward_arguments(config) or ()],
        "remove_unused_columns": False,
        **(BEST if has_validation(config) and config.cadence.eval_steps > 0 else {}),
        **own,
    }


def _grpo(stage: Grpo) -> Arguments:
    return {
        "loss_type": stage.loss,
        "scale_rewards": stage.scale_rewards,
        "importance_sampling_level": stage.importance_sampling,
        "epsilon_high": stage.epsilon_high,
        "mask_truncated_completions": stage.mask_truncated,
    }


def reward_arguments(config: TrainConfig) -> list[Arguments] | None:
    """Every reward of a stage that has some, as `rewards.judging.load_judges` takes them: name, weight, arguments, and
    for the reward model, which comes last, its path. None for the other stages."""
    stage = config.stage
    if not isinstance(stage, (Ppo, Grpo, Rloo)):
        return None
    found = [
        {"name": name, "weight": _weight(stage.reward_weights, name), "arguments": _given(stage.reward_arguments, name)}
        for name in stage.rewards
    ]
    if stage.reward_model:
        weight = _weight(stage.reward_weights, REWARD_MODEL)
        found.append({"name": REWARD_MODEL, "weight": weight, "arguments": {}, "path": stage.reward_model})
    return found


def _weight(weights: Mapping[str, Any], name: str) -> float:
    return float(weights.get(name, 1.0))


def _given(arguments: Mapping[str, Any], name: str) -> Arguments:
    return arguments_of(name, arguments.get(name, {}))
