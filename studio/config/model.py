"""The base model: where it comes from and how it is loaded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from studio.config.section import Advanced, Choices, Section


class BaseModelConfig(Section):
    """Which model is the base."""

    path: Annotated[str, Choices("models")] = Field(title="Folder or id", min_length=1)
    """Folder of a local model, or its id on a hub such as owner/name."""

    hub: Annotated[Literal["huggingface", "modelscope"], Advanced()] = "huggingface"
    """Where an id is looked up. A mirror is named by HF_ENDPOINT or MODELSCOPE_DOMAIN in the environment."""

    chat_template: Annotated[str, Choices("templates"), Advanced()] = Field(default="auto", min_length=1)
    """How a conversation becomes text: auto takes the tokenizer's own template, a name takes one that Studio ships."""

    dtype: Annotated[Literal["auto", "bfloat16", "float16", "float32"], Advanced()] = Field(
        title="Weight format (dtype)", default="auto"
    )
    """Number format in which the weights are held: auto follows the precision, full training stays in float32."""

    attention: Annotated[
        Literal["auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"], Advanced()
    ] = "auto"
    """Implementation of attention: auto takes PyTorch's own, which needs nothing installed."""

    rope_scaling: Annotated[Literal["none", "linear", "dynamic", "yarn", "llama3"], Advanced()] = Field(
        title="RoPE scaling", default="none"
    )
    """How positions beyond the trained context are reached."""

    rope_factor: Annotated[float, Advanced()] = Field(title="RoPE factor", default=2.0, ge=1, le=128)
    """By how much the context is stretched when RoPE scaling is on."""

    revision: Annotated[str | None, Advanced()] = None
    """Branch, tag or commit on the hub; empty takes the newest."""

    trust_remote_code: Annotated[bool, Advanced()] = False
    """Run Python code that the model's repository brings. Only for authors whom you trust with this machine."""


class ModelConfig(BaseModelConfig):
    """Which model is trained, and from which state."""

    adapters: Annotated[list[str], Choices("adapters")] = Field(title="Continue from adapters", default=[])
    """LoRA adapters or checkpoints to continue from: the last one is trained on, those before it are merged first."""

    new_tokens: Annotated[list[str], Advanced()] = Field(default=[])
    """Words that become one token each. Their embeddings begin as the mean of all others and are trained along."""

    resize_vocabulary: Annotated[bool, Advanced()] = False
    """Give the model embeddings for tokens that its tokenizer knows and it does not; new tokens do so by themselves."""
