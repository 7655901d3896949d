"""Shifted sparse attention (S²-Attn) for training on long rows: each position sees its own group alone.

LongLoRA, arXiv 2309.12307, section 3.2: a row is cut into groups; half of the heads have their groups shifted by half
of one, so that what is known flows from group to group. Here the shifted groups do not wrap around as in the paper's
listing, where the first positions would see the last ones: the first and the last of them are shorter instead. Memory
grows with the length times the group, not with the square of the length. In evaluation and in generation every
position sees all before it, as ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import causal_mask_function

from studio.tasks.failures import TaskError

NAME = "s2_attn"
SHARE = "s2_group_share"
"""Under this name a model's config says which share of a row a group covers."""


def use_shifted_attention(model: Any, share: float) -> None:
    """Let a model train with groups that cover `share` of the row. Raises TaskError for a model with other windows."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = bool(getattr(config, "sliding_window", None)) and getattr(config, "use_sliding_window", True)
    if kinds - {"full_attention"} or windowed or getattr(config, "attn_logit_softcapping", None):
        raise TaskError(
            "method",
            "This model has windows or limits in its attention, which shifted groups would undo.",
            "Choose a model with full attention in every layer, or set method.type=lora.",
        )
    AttentionInterface.register(NAME, shifted_attention)
    AttentionMaskInterface.register(NAME, padding_mask)
    setattr(config, SHARE, share)
    model.set_attn_implementation(NAME)
    if config._attn_implementation != NAME:
        raise TaskError(
            "method",
            f"The attention of a {type(model).__name__} cannot be replaced.",
            "Set method.type=lora.",
        )


def padding_mask(
    *_: Any,
    kv_length: int,
    mask_function: Callable[..., Any] = causal_mask_function,
    attention_mask: torch.Tensor | None = None,
    **options: Any,
) -> torch.Tensor | None:
    """Which positions (rows, kv_length) are no padding, None when all are: the rest follows from the positions."""
    if mask_function is not causal_mask_function:
        raise TaskError("method", "LongLoRA cannot train on packed rows.", "Set data.packing=false.")
    if attention_mask is None:
        return None
    valid = attention_mask[:, -kv_length:].bool()
    return None if bool(valid.all()) else valid


def shifted_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """The attention of one layer as transformers calls it, from (rows, heads, length, width) to (rows, length, heads,
    width).

    `attention_mask` is what `padding_mask` has made.
    """
    heads, length = query.shape[1:3]
    key, value = (part.repeat_interleave(heads // part.shape[1], dim=1) for part in (key, value))
    settings: dict[str, Any] = {"dropout_p": dropout, "scale": scaling}
    size = group_size(length, getattr(module.config, SHARE))
    if not module.training or size >= length:
        found = _full(query, key, value, attention_mask, settings)
    else:
        half = heads // 2
        parts: list[torch.Tensor] = []
        for own, shift in ((slice(half), 0), (slice(half, None), size // 2)):
            parts.append(_grouped(query[:, own], key[:, own], value[:, own], attention_mask, size, shift, settings))
        found = torch.cat(parts, dim=1)
    return found.transpose(1, 2).contiguous(), None


def group_size(length: int, share: float) -> int:
    """How many positions a group of a row of that length has: an even number, at least 2."""
    size = max(2, math.ceil(length * share))
    return size + size % 2


def _full(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, valid: torch.Tensor | None, settings: dict[str, Any]
) -> torch.Tensor:
    """Every position sees all before it; the queries are the last ones of the keys."""
    asked, known = query.shape[2], key.shape[2]
    if valid is None and asked in (1, known):
        return scaled_dot_product_attention(query, key, value, is_causal=asked > 1, **settings)
    places = torch.arange(known, device=query.device)
    own = places[known - asked :, None]
    allowed = (places <= own)[None, None]
    if valid is not None:
        allowed = allowed & valid[:, None, None] | (places == own)
    return scaled_dot_product_attention(query, key, value, attn_mask=allowed, **settings)


def _grouped(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    valid: torch.Tensor | None,
    size: int,
    shift: int,
    settings: dict[str, Any],
) -> torch.Tensor:
    """Each position sees those before it in its own group; the first group is shorter by `shift`."""
    rows, heads, length, width = query.shape
    behind = -(length + shift) % size
    count = (length + shift + behind) // size
    parts = [
        pad(part, (0, 0, shift, behind)).view(rows, heads, count, size, width).transpose(1, 2).flatten(0, 1)
        for part in (query, key, value)
    ]
    if valid is None and not shift and not behind:
        found = scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True, **settings)
    else:
        real = torch.ones(rows, length, dtype=torch.bool, device=query.device) if valid is None else valid
        real = pad(real, (shift, behind)).view(rows * count, 1, 1, size)
        places = torch.arange(size, device=query.device)
        # A place that sees nothing would give NaN, so each sees itself, padding too.
        allowed = (places <= places[:, None]) & real | (places == places[:, None])
        found = scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=allowed, **settings)
    whole = found.view(rows, count, heads, size, width).transpose(1, 2).reshape(rows, heads, count * size, width)
    return whole[:, :, shift : shift + length]
