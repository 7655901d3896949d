"""Methods that train vectors in front of the input and leave the model as it is."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from studio.config.low_rank import EVERY_QUANTIZATION
from studio.config.method_base import MethodSection
from studio.config.section import Advanced


class SoftPrompt(MethodSection):
    """What all of these methods choose: how many vectors."""

    adapter: ClassVar[bool] = True
    quantized_bases: ClassVar[frozenset[str]] = EVERY_QUANTIZATION

    virtual_tokens: int = Field(default=20, ge=1, le=4096)
    """How many trained vectors stand in front of every input; they take places of the context."""


class PromptTuning(SoftPrompt):
    """Train the embeddings of some tokens in front of the input."""

    usual_rates: ClassVar[tuple[float, float]] = (1e-3, 1e-1)

    type: Literal["prompt-tuning"] = "prompt-tuning"
    """Prompt tuning"""

    initial_text: Annotated[str, Advanced()] = ""
    """A text whose embeddings the vectors begin with, repeated or cut to their number; empty takes those of random
    tokens."""


class PrefixTuning(SoftPrompt):
    """Train keys and values in front of those of the input, in every layer."""

    usual_rates: ClassVar[tuple[float, float]] = (1e-3, 5e-2)
    recomputes: ClassVar[bool] = False

    type: Literal["prefix-tuning"] = "prefix-tuning"
    """Prefix tuning"""

    projection: Annotated[bool, Advanced()] = False
    """Compute the keys and values by a small network while training, which is steadier and takes more memory."""


class PTuning(SoftPrompt):
    """Train embeddings in front of the input through a small network."""

    usual_rates: ClassVar[tuple[float, float]] = (1e-4, 3e-2)

    type: Literal["p-tuning"] = "p-tuning"
    """P-tuning"""

    encoder: Annotated[Literal["mlp", "lstm"], Advanced()] = "mlp"
    """Kind of the network that makes the embeddings."""

    encoder_width: Annotated[int, Advanced()] = Field(default=128, ge=1, le=65_536)
    """Width of that network."""
