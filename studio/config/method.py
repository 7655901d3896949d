"""What of the model is trained: all of it, some layers, new ones, or an adapter beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from studio.config.low_rank import AdaLora, BitLora, Ia3, Loha, Lokr, LongLora, Lora, Oft, Vera
from studio.config.method_base import MethodSection
from studio.config.section import Advanced, with_default_type
from studio.config.soft_prompts import PrefixTuning, PromptTuning, PTuning

ROUTED_SIDECAR = "mixture_of_depths.json"
"""The file by which a saved Mixture-of-Depths model is known, beside its weights."""


class Full(MethodSection):
    """Train every weight."""

    type: Literal["full"] = "full"
    """Full"""


class Freeze(MethodSection):
    """Train some layers and leave the others as they are."""

    type: Literal["freeze"] = "freeze"
    """Freeze"""

    trainable_layers: int = Field(default=2, ge=-256, le=256)
    """How many layers are trained: the last n, or the first n when negative."""

    trainable_modules: Annotated[list[str], Advanced()] = Field(default=[])
    """Which modules of those layers are trained, by the end of their name, such as mlp; empty means all."""

    extra_modules: Annotated[list[str], Advanced()] = Field(default=[])
    """Further modules to train, by the end of their name, such as embed_tokens or lm_head."""


class LlamaPro(MethodSection):
    """Add copies of layers that do nothing at first, and train those alone (LLaMA Pro)."""

    type: Literal["llama-pro"] = "llama-pro"
    """LLaMA Pro"""

    new_layers: int = Field(default=2, ge=1, le=256)
    """How many layers are added, spread evenly; the number of layers must be a multiple of it."""


class MixtureOfDepths(MethodSection):
    """Train the whole model with layers that pass some tokens by (Mixture-of-Depths): an experiment."""

    type: Literal["mixture-of-depths"] = "mixture-of-depths"
    """Mixture-of-Depths"""

    capacity: float = Field(default=0.5, gt=0, le=1)
    """Share of the tokens that a routed layer computes; the others pass it by."""

    every: Annotated[int, Advanced()] = Field(default=2, ge=1, le=256)
    """Every how manieth layer is routed."""


Method = Annotated[
    Lora
    | Full
    | Freeze
    | BitLora
    | LongLora
    | AdaLora
    | Vera
    | Loha
    | Lokr
    | Oft
    | Ia3
    | PromptTuning
    | PrefixTuning
    | PTuning
    | LlamaPro
    | MixtureOfDepths,
    Field(discriminator="type"),
    BeforeValidator(with_default_type("lora")),
]
