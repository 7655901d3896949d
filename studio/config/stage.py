"""What the model is trained for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from studio.config.section import Advanced, Section, with_default_type


class Sft(Section):
    """Supervised fine-tuning: learn to answer as the conversations do."""

    type: Literal["sft"] = "sft"
    """Supervised fine-tuning"""

    train_on_prompt: Annotated[bool, Advanced()] = False
    """Train on the questions too, not only on the answers."""

    mask_history: Annotated[bool, Advanced()] = False
    """Train on the last answer of a conversation only."""


class Pretrain(Section):
    """Continued pre-training: learn to continue plain text."""

    type: Literal["pretrain"] = "pretrain"
    """Continued pre-training"""


Stage = Annotated[Sft | Pretrain, Field(discriminator="type"), BeforeValidator(with_default_type("sft"))]
