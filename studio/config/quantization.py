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

    storage: Annotated[Literal["uint8", "bfloat16", "float16", "float32"], Advanced()] = "uint8"
    """Type in which the packed weights lie: FSDP needs that of the other weights."""


class EightBit(Section):
    """bitsandbytes LLM.int8(): about half of the memory of bf16 weights."""

    type: Literal["8bit"] = "8bit"
    """8-bit"""

    outlier_threshold: Annotated[float, Advanced()] = Field(default=6.0, ge=0, le=100)
    """Activations above this size are computed in 16 bits."""


class Hqq(Section):
    """HQQ: 8 to 1 bit without any calibration data (half-quadratic quantization)."""

    type: Literal["hqq"] = "hqq"
    """HQQ"""

    bits: Literal["8", "6", "5", "4", "3", "2", "1"] = "4"
    """Bits a weight; below 4 a model loses much, and 6 and 5 take the room of 8."""

    group_size: Annotated[int, Advanced()] = Field(default=64, ge=8, le=1024)
    """Weights that share a scale: fewer is closer to the original and larger."""


class Torchao(Section):
    """torchao int8: about half of the memory of bf16 weights, with PyTorch alone."""

    type: Literal["torchao"] = "torchao"
    """torchao int8"""


class Eetq(Section):
    """EETQ int8: fast 8-bit weights on NVIDIA GPUs."""

    type: Literal["eetq"] = "eetq"
    """EETQ int8"""


class Checkpoint(Section):
    """The checkpoint is quantized already (GPTQ, AWQ, AQLM, FP8, MXFP4 …), and its config.json says how."""

    type: Literal["checkpoint"] = "checkpoint"
    """As the checkpoint is"""


Quantization = Annotated[
    NoQuantization | FourBit | EightBit | Hqq | Torchao | Eetq | Checkpoint,
    Field(discriminator="type"),
    BeforeValidator(with_default_type("none")),
]
