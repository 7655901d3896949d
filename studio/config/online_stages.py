"""Stages in which the model writes answers itself and learns from what they are worth (reinforcement learning)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from studio.config.section import Advanced, Choices
from studio.config.stage_base import StageSection


class _Online(StageSection):
    """What answers are written and what they are worth."""

    kinds: ClassVar[frozenset[str]] = frozenset({"prompt", "chat", "tools"})
    online: ClassVar[bool] = True
    reference: ClassVar[bool] = True

    rewards: Annotated[list[str], Choices("rewards")] = Field(default=[])
    """What gives points: functions of Studio's library by name, or one of yours as file.py:function."""

    reward_model: Annotated[str | None, Choices("reward_models")] = None
    """Run or folder of a reward model that scores the answers too; empty uses functions alone."""

    max_completion_length: int = Field(default=256, ge=1, le=1_000_000)
    """Tokens that an answer has at most."""

    temperature: float = Field(default=1.0, gt=0, le=10)
    """How freely answers are drawn; without differences between them nothing is learnt."""

    top_p: Annotated[float, Advanced()] = Field(default=1.0, gt=0, le=1)
    """Answers are drawn from the likeliest tokens that make up this share."""

    reward_weights: Annotated[dict[str, Any], Advanced()] = Field(default={})
    """Weights of the rewards by name, such as {exact_answer: 1, answer_length: 0.2}; 1 where none is named."""

    reward_arguments: Annotated[dict[str, Any], Advanced()] = Field(default={})
    """Arguments of the rewards by name, such as {answer_length: {target: 40}}."""


class Ppo(_Online):
    """Learn by trial with a critic that learns to foresee the reward (PPO)."""

    type: Literal["ppo"] = "ppo"
    """PPO"""

    kl_coefficient: float = Field(default=0.1, ge=0, le=100)
    """Points taken off for every nat by which the model leaves the reference."""

    kl_target: Annotated[float | None, Advanced()] = Field(default=6.0, gt=0, le=1000)
    """Distance per answer to which that coefficient is adapted; empty keeps it as it is."""

    ppo_epochs: int = Field(title="Passes", default=4, ge=1, le=100)
    """How often the answers of a step are learnt from."""

    clip_range: Annotated[float, Advanced()] = Field(default=0.2, gt=0, le=1)
    """How far one step may move the probability of a token."""

    value_clip_range: Annotated[float, Advanced()] = Field(default=0.2, gt=0, le=100)
    """How far one step may move the critic's estimate."""

    value_coefficient: Annotated[float, Advanced()] = Field(default=0.1, ge=0, le=100)
    """Weight of the critic's loss."""

    gae_gamma: Annotated[float, Advanced()] = Field(title="Discount (gamma)", default=1.0, ge=0, le=1)
    """How much later points count."""

    gae_lambda: Annotated[float, Advanced()] = Field(title="GAE lambda", default=0.95, ge=0, le=1)
    """Between the critic's word alone (0) and the points as they came (1)."""

    whiten_rewards: Annotated[bool, Advanced()] = False
    """Scale the points of a batch to deviation 1; their mean stays."""

    normalize_scores: Annotated[bool, Advanced()] = False
    """Divide scores by their running deviation."""


class _Groups(_Online):
    """What the methods share that compare answers to one prompt with each other."""

    num_generations: int = Field(title="Answers a prompt", default=8, ge=2, le=1024)
    """Answers that are compared with each other; it must divide the rows of a step."""

    num_iterations: Annotated[int, Advanced()] = Field(title="Passes", default=1, ge=1, le=100)
    """How often the answers of a step are learnt from."""

    epsilon: Annotated[float, Advanced()] = Field(default=0.2, gt=0, le=10)
    """How far one step may move the probability of a token."""


class Grpo(_Groups):
    """Learn by trial from groups of answers, without a critic (GRPO)."""

    type: Literal["grpo"] = "grpo"
    """GRPO"""

    beta: float = Field(title="KL coefficient (beta)", default=0.0, ge=0, le=100)
    """How strongly the model is held to the reference; 0 needs no reference."""

    loss: Annotated[Literal["dapo", "grpo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo"], Advanced()] = "dapo"
    """How the tokens of a group make up the loss."""

    scale_rewards: Annotated[Literal["group", "batch", "none"], Advanced()] = "group"
    """Whose deviation the points are divided by."""

    importance_sampling: Annotated[Literal["token", "sequence"], Advanced()] = "token"
    """Whether tokens or whole answers are weighed; sequence is GSPO."""

    epsilon_high: Annotated[float | None, Advanced()] = Field(default=None, gt=0, le=10)
    """Another bound upwards than downwards; empty takes the same."""

    mask_truncated: Annotated[bool, Advanced()] = False
    """Leave answers that were cut off out of the loss."""


class Rloo(_Groups):
    """Learn by trial, each answer against the mean of the others (RLOO)."""

    type: Literal["rloo"] = "rloo"
    """RLOO"""

    beta: float = Field(title="KL coefficient (beta)", default=0.05, ge=0, le=100)
    """How strongly the model is held to the reference; 0 needs no reference."""

    normalize_advantages: Annotated[bool, Advanced()] = False
    """Scale the advantages of a step to mean 0 and deviation 1."""
