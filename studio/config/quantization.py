"""How the frozen base weights are held in memory."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from studio.config.section import Advanced, Section, with_default_type


class NoQuantization(Section):
    """The weights stay in the format in which they are loaded."""

    type: Literal["none"] = "none"
    """None"""


class FourBit(Section):
    """bitsandbytes 4-bit: about a quarter of the memory of bf16 weights."""

    type: Literal["4bit"] = "4bit"
    """4-bit"""

    quant_type: Literal["nf4", "fp4"] = "nf4"
    """The sixteen values that a weight can take: nf4 fits normally distributed weights better than fp4."""

    double_quantization: bool = True
    """Quantize the scales too, which saves about 0.4 bits a weight."""


class EightBit(Section):
    """bitsandbytes LLM.int8(): about half of the memory of bf16 weights."""

    type: Literal["8bit"] = "8bit"
    """8-bit"""

    outlier_threshold: Annotated[float, Advanced()] = Field(default=6.0, ge=0, le=100)
    """Activations above this size are computed in 16 bits."""


Quantization = Annotated[
    NoQuantization | FourBit | EightBit, Field(discriminator="type"), BeforeValidator(with_default_type("none"))
]
