"""What of the model is trained: all of it, some layers, or low-rank adapters beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from studio.config.section import Advanced, Choices, Section, with_default_type


class Full(Section):
    """Train every weight."""

    type: Literal["full"] = "full"
    """Full"""


class Freeze(Section):
    """Train some layers and leave the others as they are."""

    type: Literal["freeze"] = "freeze"
    """Freeze"""

    trainable_layers: int = Field(default=2, ge=-256, le=256)
    """How many layers are trained: the last n, or the first n when negative."""

    extra_modules: Annotated[list[str], Advanced()] = Field(default=[])
    """Further modules to train, by the end of their name, such as embed_tokens or lm_head."""


class Lora(Section):
    """Train two small matrices beside each chosen one (LoRA)."""

    type: Literal["lora"] = "lora"
    """LoRA"""

    rank: int = Field(default=16, ge=1, le=4096)
    """Width of the two matrices: more can learn more and takes more memory."""

    alpha: int | None = Field(default=None, ge=1, le=16384)
    """Strength of the adapter, divided by the rank; empty means twice the rank."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs that is set to zero at each step, against learning by heart."""

    target_modules: Annotated[Literal["all-linear"] | list[str], Choices("target_modules")] = Field(
        default="all-linear", min_length=1
    )
    """Which matrices get an adapter: all-linear, or a list of names such as [q_proj, v_proj]."""

    modules_to_save: Annotated[list[str], Advanced()] = Field(default=[])
    """Modules that are trained in full beside the adapter and saved with it, such as embed_tokens."""

    @property
    def effective_alpha(self) -> int:
        """Alpha as used: twice the rank unless set."""
        return self.alpha if self.alpha is not None else 2 * self.rank


Method = Annotated[Full | Freeze | Lora, Field(discriminator="type"), BeforeValidator(with_default_type("lora"))]
