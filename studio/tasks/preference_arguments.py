"""From the settings of the stages that learn from judged answers to the arguments of their trainers: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from studio.config.preference_stages import Dpo, Kto, Orpo, Reward, Simpo
from studio.config.stage_base import StageSection
from studio.config.train import TrainConfig

Arguments = dict[str, Any]

_FORMS: Mapping[str, Literal["pairs", "judged"]] = {
    "dpo": "pairs",
    "orpo": "pairs",
    "simpo": "pairs",
    "reward": "pairs",
    "kto": "judged",
}


def form_of(stage: StageSection) -> Literal["labels", "pairs", "judged"]:
    """What the stage's rows become, as `tokenize.Settings.form` names it."""
    return _FORMS.get(type(stage).model_fields["type"].default, "labels")


def preference_arguments(config: TrainConfig) -> Arguments:
    """What the trainer of the stage takes beside the common arguments."""
    own = _OF[config.stage.type](config.stage)
    # Rows are cut before the trainer sees them, with an account of it.
    if isinstance(config.stage, (Dpo, Kto, Reward)):
        own["max_length"] = None
    # Answers are compared with the reference's as the model would give them; a dropout that was asked for stays.
    own["disable_dropout"] = not getattr(config.method, "dropout", 0.0)
    return own


def _dpo(stage: Dpo) -> Arguments:
    losses = {stage.loss: 1.0, **({"sft": stage.sft_weight} if stage.sft_weight else {})}
    return {
        "beta": stage.beta,
        "loss_type": list(losses),
        "loss_weights": list(losses.values()),
        "label_smoothing": stage.label_smoothing,
        "precompute_ref_log_probs": stage.precompute_reference,
    }


def _kto(stage: Kto) -> Arguments:
    return {
        "beta": stage.beta,
        "loss_type": stage.loss,
        "desirable_weight": stage.desirable_weight,
        "undesirable_weight": stage.undesirable_weight,
    }


def _orpo(stage: Orpo) -> Arguments:
    return {"beta": stage.beta}


def _simpo(stage: Simpo) -> Arguments:
    return {"beta": stage.beta, "gamma": stage.gamma, "sft_weight": stage.sft_weight}


def _reward(stage: Reward) -> Arguments:
    return {"center_rewards_coefficient": stage.center_rewards}


_OF: Mapping[str, Any] = {"dpo": _dpo, "kto": _kto, "orpo": _orpo, "simpo": _simpo, "reward": _reward}
