"""The config of a serving process: one base model, any number of adapters, an OpenAI-compatible API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from studio.config.devices import DevicesConfig
from studio.config.jobs import JobConfig
from studio.config.model import BaseModelConfig
from studio.config.quantization import NoQuantization, Quantization
from studio.config.section import Advanced, Choices, Section, with_default_type


class Transformers(Section):
    """The library that trained the model answers, in Studio's own environment."""

    type: Literal["transformers"] = "transformers"
    """Transformers"""


class Vllm(Section):
    """vLLM answers: many clients at once on a GPU."""

    type: Literal["vllm"] = "vllm"
    """vLLM"""

    gpu_memory_share: Annotated[float, Advanced()] = Field(title="Share of GPU memory", default=0.9, gt=0, le=1)
    """Share of the GPU's memory that vLLM takes for weights and cache."""


class LlamaCpp(Section):
    """llama.cpp answers from an exported GGUF file."""

    type: Literal["llama-cpp"] = "llama-cpp"
    """llama.cpp"""

    gpu_layers: Annotated[int, Advanced()] = Field(title="Layers on the GPU", default=0, ge=-1, le=1000)
    """Layers that are computed on the GPU; -1 means all. Needs a llama.cpp that was built for it."""


Engine = Annotated[
    Transformers | Vllm | LlamaCpp, Field(discriminator="type"), BeforeValidator(with_default_type("transformers"))
]


class ServingConfig(Section):
    """What is served, to whom, and to how many at once."""

    adapters: Annotated[list[str], Choices("adapters")] = Field(title="Adapters beside the base", default=[])
    """Adapters that are served beside the base model, each under the name of its run."""

    merged: Annotated[list[str], Choices("adapters"), Advanced()] = Field(title="Merged first", default=[])
    """Adapters that are merged into the base before those above are put beside it, in this order: what these were
    trained on."""

    host: Annotated[str, Advanced()] = Field(title="Address", default="127.0.0.1", min_length=1)
    """Address to listen on. Others than 127.0.0.1 need a key."""

    port: Annotated[int, Advanced()] = Field(default=0, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    key_variable: Annotated[str, Advanced()] = Field(
        title="Key variable", default="STUDIO_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"
    )
    """Variable of the environment that holds the key which clients must send; without it only this machine may ask."""

    places: Annotated[int, Advanced()] = Field(title="Answers at once", default=8, ge=1, le=256)
    """Answers that are written at the same time; further ones wait their turn."""

    context_len: Annotated[int | None, Advanced()] = Field(title="Context length", default=None, ge=16, le=10_485_760)
    """Most tokens of a question and its answer together; empty takes what the model was trained for."""


class ServeConfig(JobConfig):
    """Everything that a serving process depends on."""

    model: BaseModelConfig
    """The base model."""

    quantization: Quantization = NoQuantization()
    """How the frozen base weights are held in memory."""

    engine: Engine = Transformers()
    """Which library computes the answers."""

    serving: ServingConfig = ServingConfig()
    """What is served, to whom, and to how many at once."""

    devices: DevicesConfig = DevicesConfig()
    """What the run computes on."""
