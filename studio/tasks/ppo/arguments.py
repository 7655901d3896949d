"""The arguments of the PPO trainer: those of transformers' trainer and the stage's own."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import TrainingArguments


@dataclass
class PpoArguments(TrainingArguments):
    """The stage's settings under their own names; config/online_stages.py explains them."""

    trust_remote_code: bool = False
    max_completion_length: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    kl_coefficient: float = 0.1
    kl_target: float | None = 6.0
    ppo_epochs: int = 4
    clip_range: float = 0.2
    value_clip_range: float = 0.2
    value_coefficient: float = 0.1
    gae_gamma: float = 1.0
    gae_lambda: float = 0.95
    whiten_rewards: bool = False
    normalize_scores: bool = False
