"""Stages that learn from judged answers: which of two is better, or whether one is good."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from studio.config.section import Advanced
from studio.config.stage_base import StageSection


class Reward(StageSection):
    """Learn to score answers, as reinforcement learning needs it (reward model)."""

    kinds: ClassVar[frozenset[str]] = frozenset({"preference"})

    type: Literal["reward"] = "reward"
    """Reward model"""

    center_rewards: Annotated[float | None, Advanced()] = Field(default=None, gt=0, le=100)
    """Weight of a pull of the scores towards zero on average; 0.01 is usual, empty is off."""


class Dpo(StageSection):
    """Learn from pairs of answers, without a reward model (DPO and its relatives)."""

    kinds: ClassVar[frozenset[str]] = frozenset({"preference"})
    reference: ClassVar[bool] = True

    type: Literal["dpo"] = "dpo"
    """DPO"""

    beta: float = Field(default=0.1, gt=0, le=100)
    """How strongly the model is held to the reference: less lets it move further."""

    loss: Literal[
        "sigmoid",
        "hinge",
        "ipo",
        "robust",
        "exo_pair",
        "nca_pair",
        "bco_pair",
        "sppo_hard",
        "aot",
        "aot_unpaired",
        "apo_zero",
        "apo_down",
        "discopop",
        "sigmoid_norm",
    ] = "sigmoid"
    """How a pair becomes a loss: sigmoid is DPO as published."""

    sft_weight: float = Field(title="SFT mix-in", default=0.0, ge=0, le=100)
    """Weight of the ordinary loss on the chosen answer, added to the other; it keeps the answers likely."""

    label_smoothing: Annotated[float, Advanced()] = Field(default=0.0, ge=0, lt=0.5)
    """Share of the pairs that are expected to be the wrong way round."""

    precompute_reference: Annotated[bool, Advanced()] = False
    """Compute the reference before training and let go of it, which saves memory and takes a pass over the data."""


class Kto(StageSection):
    """Learn from single answers that were judged good or bad (KTO)."""

    kinds: ClassVar[frozenset[str]] = frozenset({"judged", "preference"})
    reference: ClassVar[bool] = True

    type: Literal["kto"] = "kto"
    """KTO"""

    beta: float = Field(default=0.1, gt=0, le=100)
    """How strongly the model is held to the reference: less lets it move further."""

    loss: Annotated[Literal["kto", "apo_zero_unpaired"], Advanced()] = "kto"
    """How a judged answer becomes a loss."""

    desirable_weight: Annotated[float, Advanced()] = Field(default=1.0, gt=0, le=100)
    """Weight of good answers; raise it where there are few of them."""

    undesirable_weight: Annotated[float, Advanced()] = Field(default=1.0, gt=0, le=100)
    """Weight of bad answers; raise it where there are few of them."""


class Orpo(StageSection):
    """Learn answers and preference in one go, without a reference (ORPO)."""

    kinds: ClassVar[frozenset[str]] = frozenset({"preference"})

    type: Literal["orpo"] = "orpo"
    """ORPO"""

    beta: float = Field(default=0.1, gt=0, le=100)
    """Weight of the preference beside the ordinary loss on the chosen answer."""


class Simpo(StageSection):
    """Learn from pairs by the average likelihood of their tokens, without a reference (SimPO)."""

    kinds: ClassVar[frozenset[str]] = frozenset({"preference"})

    type: Literal["simpo"] = "simpo"
    """SimPO"""

    beta: float = Field(default=2.0, gt=0, le=100)
    """Scale of the difference between the two answers."""

    gamma: float = Field(default=0.5, ge=0, le=100)
    """By how much the better answer shall win."""

    sft_weight: float = Field(title="SFT mix-in", default=0.0, ge=0, le=100)
    """Weight of the ordinary loss on the chosen answer, added to the other; it keeps the answers likely."""
