"""The model families that can be written as GGUF: their architecture there, their metadata, and what changes in them.

The names of keys and tensors are those of the package gguf, which llama.cpp publishes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gguf
import torch

from studio.tasks.exporting.positions import rope_of
from studio.tasks.failures import TaskError

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """One architecture. `interleaved` says that llama.cpp rotates neighbouring pairs where transformers rotates halves;
    `shifted_norms` that norms are kept as their distance from 1; `one_embedding` that there is no output embedding;
    `readable` that transformers can read the result back, as a model of type `read_as` if that is another."""

    arch: gguf.MODEL_ARCH
    interleaved: bool = False
    shifted_norms: bool = False
    one_embedding: bool = False
    readable: bool = True
    read_as: str = ""


FAMILIES: Mapping[str, Family] = {
    "LlamaForCausalLM": Family(gguf.MODEL_ARCH.LLAMA, interleaved=True),
    "MistralForCausalLM": Family(gguf.MODEL_ARCH.LLAMA, interleaved=True, read_as="llama"),
    "Qwen2ForCausalLM": Family(gguf.MODEL_ARCH.QWEN2),
    "Qwen3ForCausalLM": Family(gguf.MODEL_ARCH.QWEN3),
    "GemmaForCausalLM": Family(gguf.MODEL_ARCH.GEMMA, shifted_norms=True, one_embedding=True, readable=False),
    "Gemma2ForCausalLM": Family(gguf.MODEL_ARCH.GEMMA2, shifted_norms=True, one_embedding=True),
    "Gemma3ForCausalLM": Family(gguf.MODEL_ARCH.GEMMA3, shifted_norms=True, one_embedding=True),
    "Phi3ForCausalLM": Family(gguf.MODEL_ARCH.PHI3),
}


def family_of(config: Config) -> Family:
    """The family of a model. Raises TaskError for one that cannot be written."""
    name = next(iter(config.get("architectures") or []), "")
    if name not in FAMILIES:
        raise TaskError(
            "gguf",
            f"GGUF files of {name or 'a model that names no architecture'} cannot be written here.",
            f"They can of {', '.join(sorted(FAMILIES))}. Otherwise export it merged and use llama.cpp's own converter.",
        )
    return FAMILIES[name]


def head_size(config: Config) -> int:
    """Numbers of one attention head."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def check_rope(config: Config) -> None:
    """Raise TaskError for positions that a GGUF file cannot express."""
    kind = rope_of(config)["rope_type"]
    if kind not in ("default", "linear", "yarn", "llama3"):
        raise TaskError(
            "gguf",
            f"RoPE scaling of the kind {kind} cannot be written into a GGUF file here.",
            "Export it merged and use llama.cpp's own converter.",
        )


def write_metadata(writer: gguf.GGUFWriter, config: Config, family: Family, rows: int) -> None:
    """Everything about the model but its tokenizer; `rows` is the number of embeddings."""
    heads = int(config["num_attention_heads"])
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_vocab_size(rows)
    if config.get("head_dim"):
        writer.add_key_length(head_size(config))
        writer.add_value_length(head_size(config))
    _write_rope(writer, config, family)
    _write_attention(writer, config, family)


def _write_rope(writer: gguf.GGUFWriter, config: Config, family: Family) -> None:
    rope = rope_of(config)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    share = float(rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)))
    writer.add_rope_dimension_count(int(head_size(config) * share))
    if rope["rope_type"] in ("linear", "yarn"):
        kind = gguf.RopeScalingType.LINEAR if rope["rope_type"] == "linear" else gguf.RopeScalingType.YARN
        writer.add_rope_scaling_type(kind)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    if rope["rope_type"] == "yarn":
        original = rope.get("original_max_position_embeddings")
        writer.add_rope_scaling_orig_ctx_len(int(original or config["max_position_embeddings"] / rope["factor"]))
        if rope.get("attention_factor") is not None:
            writer.add_rope_scaling_yarn_attn_factor(float(rope["attention_factor"]))
        if rope.get("beta_fast") is not None:
            writer.add_rope_scaling_yarn_beta_fast(float(rope["beta_fast"]))
        if rope.get("beta_slow") is not None:
            writer.add_rope_scaling_yarn_beta_slow(float(rope["beta_slow"]))
    if family.arch == gguf.MODEL_ARCH.PHI3:
        original = config.get("original_max_position_embeddings") or config["max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(int(original))


def _write_attention(writer: gguf.GGUFWriter, config: Config, family: Family) -> None:
    """Windows and caps, where the family knows them."""
    if family.arch in (gguf.MODEL_ARCH.GEMMA2, gguf.MODEL_ARCH.GEMMA3):
        writer.add_sliding_window(int(config["sliding_window"]))
    if family.arch == gguf.MODEL_ARCH.GEMMA2:
        writer.add_attn_logit_softcapping(float(config["attn_logit_softcapping"]))
        writer.add_final_logit_softcapping(float(config["final_logit_softcapping"]))
    if family.arch == gguf.MODEL_ARCH.GEMMA3:
        local = (config.get("rope_parameters") or {}).get("sliding_attention", {})
        writer.add_rope_freq_base_swa(float(local.get("rope_theta", config.get("rope_local_base_freq", 10000.0))))
    if family.arch == gguf.MODEL_ARCH.PHI3:
        writer.add_sliding_window(int(config.get("sliding_window") or 0))


def transformed(name: str, tensor: torch.Tensor, config: Config, family: Family) -> torch.Tensor:
    """A tensor of transformers as llama.cpp wants it."""
    if family.shifted_norms and name.endswith("norm.weight"):
        return tensor.float() + 1
    if not family.interleaved or not name.endswith(("q_proj.weight", "q_proj.bias", "k_proj.weight", "k_proj.bias")):
        return tensor
    keys = "k_proj" in name
    heads = int((config.get("num_key_value_heads") if keys else None) or config["num_attention_heads"])
    # In each head the first half of the rows holds one number of every rotated pair, the second half the other.
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)


def rope_factors(config: Config) -> torch.Tensor | None:
    """By how much each frequency is stretched under RoPE scaling of the kind llama3; None for other kinds.

    float32, one number a rotated pair. The formula is that of the Llama 3.1 models: short waves stay, long ones are
    stretched by the whole factor, those between by a blend.
    """
    rope = rope_of(config)
    if rope["rope_type"] != "llama3":
        return None
    size = head_size(config)
    factor, low, high = float(rope["factor"]), float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    trained = float(rope["original_max_position_embeddings"])
    found: list[float] = []
    for place in range(0, size, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (place / size)
        if wave < trained / high:
            found.append(1.0)
        elif wave > trained / low:
            found.append(factor)
        else:
            blend = (trained / wave - low) / (high - low)
            found.append(1 / ((1 - blend) / factor + blend))
    return torch.tensor(found, dtype=torch.float32)
