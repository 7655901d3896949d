"""What the model is trained for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field

from studio.config.online_stages import Grpo, Ppo, Rloo
from studio.config.preference_stages import Dpo, Kto, Orpo, Reward, Simpo
from studio.config.section import Advanced, with_default_type
from studio.config.stage_base import StageSection


class Sft(StageSection):
    """Supervised fine-tuning: learn to answer as the conversations do."""

    kinds: ClassVar[frozenset[str]] = frozenset({"chat", "tools"})

    type: Literal["sft"] = "sft"
    """Supervised fine-tuning"""

    train_on_prompt: Annotated[bool, Advanced()] = False
    """Train on the questions too, not only on the answers."""

    mask_history: Annotated[bool, Advanced()] = False
    """Train on the last answer of a conversation only."""


class Pretrain(StageSection):
    """Continued pre-training: learn to continue plain text."""

    kinds: ClassVar[frozenset[str]] = frozenset({"text"})

    type: Literal["pretrain"] = "pretrain"
    """Continued pre-training"""


Stage = Annotated[
    Sft | Pretrain | Dpo | Kto | Orpo | Simpo | Reward | Ppo | Grpo | Rloo,
    Field(discriminator="type"),
    BeforeValidator(with_default_type("sft")),
]

STAGES: dict[str, type[StageSection]] = {
    str(section.model_fields["type"].default): section for section in get_args(get_args(Stage)[0])
}
"""Every stage by its type, in the order of the form."""


def stages_learning(kinds: Iterable[str]) -> list[str]:
    """The types of the stages that learn from rows of one of these kinds."""
    wanted = frozenset(kinds)
    return [name for name, section in STAGES.items() if section.kinds & wanted]
