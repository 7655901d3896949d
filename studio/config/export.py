"""The config of a job that writes a model for use elsewhere: what, in which format, where to, and how it is checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from studio.config.devices import DevicesConfig
from studio.config.jobs import JobConfig
from studio.config.section import Advanced, Choices, Section, with_default_type

GGUF_SIMPLE = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
"""Types that are written with nothing to compile."""

GGUF_K = ("q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q3_k_l", "q3_k_m", "q3_k_s", "q2_k")
"""Types that only llama.cpp's own program makes."""


class SubjectConfig(Section):
    """The model that is exported."""

    run: Annotated[str | None, Choices("adapters")] = Field(title="Run or checkpoint", default=None, min_length=1)
    """Run or checkpoint such as saves/my-run or saves/my-run/checkpoint-60: it brings its model, adapters and chat
    template."""

    base: Annotated[str | None, Choices("models")] = Field(title="Model", default=None, min_length=1)
    """Folder of a local model, or its id on a hub; needed when no run is named."""

    adapters: Annotated[list[str], Choices("adapters")] = Field(default=[])
    """LoRA adapters that are merged into the model in this order, after those of the run."""

    chat_template: Annotated[str, Choices("templates"), Advanced()] = Field(default="auto", min_length=1)
    """Chat template that is written inside: auto takes the one of the run, else the tokenizer's own."""

    hub: Annotated[Literal["huggingface", "modelscope"], Advanced()] = "huggingface"
    """Where an id is looked up."""

    revision: Annotated[str | None, Advanced()] = None
    """Branch, tag or commit on the hub; empty takes the newest."""


class Merged(Section):
    """One model with the adapters merged in; without adapters, the same model in other shards or another format."""

    type: Literal["merged"] = "merged"
    """Merged model"""

    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(title="Weight format (dtype)", default="auto")
    """Number format of the weights: auto keeps that of the base model."""

    shard_size: float = Field(title="Shard size (GB)", default=5.0, gt=0, le=1000)
    """Most gigabytes of one weight file; a tensor is never cut."""


class Adapter(Section):
    """The adapter alone, with its tokenizer and a model card."""

    type: Literal["adapter"] = "adapter"
    """Adapter only"""


class Bitsandbytes(Section):
    """The merged model in 4 or 8 bits of bitsandbytes, ready to load."""

    type: Literal["bitsandbytes"] = "bitsandbytes"
    """bitsandbytes"""

    bits: Annotated[Literal["4", "8"], BeforeValidator(str)] = "4"
    """Bits of a weight."""

    quant_type: Literal["nf4", "fp4"] = "nf4"
    """The sixteen values that a 4-bit weight can take."""

    double_quantization: bool = True
    """Quantize the scales of 4-bit weights too."""


class Gptq(Section):
    """The merged model in few bits, with an error that is made small on your data."""

    type: Literal["gptq"] = "gptq"
    """GPTQ"""

    bits: Annotated[Literal["8", "4", "3", "2"], BeforeValidator(str)] = "4"
    """Bits of a weight. Small models lose much at 3 and most at 2; the job measures how much."""

    group_size: Annotated[Literal["32", "64", "128", "-1"], BeforeValidator(str)] = "128"
    """Weights that share a scale: fewer are more exact and larger; -1 takes a whole row."""

    calibration: Annotated[list[str], Choices("datasets")] = Field(title="Calibration data", default=[])
    """Datasets of the registry on which the error is made small; empty takes those of the run."""

    rows: int = Field(title="Calibration rows", default=128, ge=1, le=100_000)
    """How many rows are used; some more are held back to measure the loss on."""

    length: int = Field(title="Tokens a row", default=512, ge=16, le=32_768)
    """Most tokens of a calibration row."""

    act_order: Annotated[bool, Advanced()] = Field(title="Important columns first", default=False)
    """Quantize columns in the order of their activations: more exact, slower in some programs."""


class Gguf(Section):
    """One file for llama.cpp, Ollama and LM Studio, with a Modelfile beside it."""

    type: Literal["gguf"] = "gguf"
    """GGUF"""

    quantization: Literal[
        "f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0",
        "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q3_k_l", "q3_k_m", "q3_k_s", "q2_k",
    ] = Field(title="Type of the weights", default="q8_0")  # fmt: skip
    """Bits of a weight: q8_0 is close to lossless, q4_0 a quarter of f16; the k types need the llama-cpp engine."""


Format = Annotated[
    Merged | Adapter | Bitsandbytes | Gptq | Gguf,
    Field(discriminator="type"),
    BeforeValidator(with_default_type("merged")),
]


class DestinationConfig(Section):
    """Where the export goes."""

    folder: str | None = Field(default=None, min_length=1)
    """Folder that appears when everything is written and checked; empty takes exports/ and the name of the run."""

    overwrite: bool = False
    """Put the export in the place of a folder that is there already. It is removed when the new one stands."""

    hub_id: Annotated[str | None, Advanced()] = Field(
        title="Upload to", default=None, pattern=r"^[\w-][\w.-]*/[\w.-]+$"
    )
    """Repository on Hugging Face such as owner/name; HF_TOKEN in the environment must allow writing to it."""

    private: Annotated[bool, Advanced()] = Field(title="Private repository", default=True)
    """Make a new repository private."""


class VerificationConfig(Section):
    """How the export is compared with the tuned model before it gets its name."""

    compare: bool = True
    """Load the export in a process of its own and compare it with the tuned model; off checks the files alone."""

    questions: list[str] = Field(
        default=["Who are you?", "What is the capital of France?", "Explain in two sentences why the sky is blue."]
    )
    """What both are asked; the answers are compared token by token."""

    answer_tokens: Annotated[int, Advanced()] = Field(title="Longest answer", default=32, ge=1, le=1024)
    """Most tokens of an answer."""

    datasets: Annotated[list[str], Choices("datasets")] = Field(default=[])
    """Datasets on whose answers perplexity is measured before and after; empty takes those of the run."""

    rows: Annotated[int, Advanced()] = Field(title="Rows to measure", default=16, ge=0, le=10_000)
    """How many rows of them; 0 measures none."""

    length: Annotated[int, Advanced()] = Field(title="Tokens a measured row", default=512, ge=16, le=32_768)
    """Most tokens of such a row."""


class ExportConfig(JobConfig):
    """Everything that an export depends on."""

    subject: SubjectConfig = Field(title="What", default=SubjectConfig())
    """What is exported."""

    format: Format = Merged()
    """What it becomes."""

    destination: DestinationConfig = DestinationConfig()
    """Where it goes."""

    verification: VerificationConfig = VerificationConfig()
    """How it is checked."""

    devices: DevicesConfig = DevicesConfig()
    """What the run computes on."""
