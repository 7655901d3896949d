"""How many answers fit side by side: by the memory that is free and what a row's keys and values take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psutil
import torch

from studio.runs.cgroup import memory_limit
from studio.tasks.evaluating.answering import Request

MOST = {"cpu": 64, "cuda": 256}  # beyond that a step takes longer in proportion, and nothing is won
SHARE_OF_FREE_MEMORY = 0.5
WORKING_COPIES = 4  # of a row's logits in float32: drawing sorts and sums them


def rows_at_once(model: Any, requests: Sequence[Request], places: int = 0) -> int:
    """Rows for which half of the free memory suffices when all become as long as they may; at least one.

    `places` are those of a soft prompt in front of every row.
    """
    longest = places + max(len(request.ids) + request.most for request in requests)
    needed = longest * bytes_a_token(model) + WORKING_COPIES * 4 * model.config.get_text_config().vocab_size
    fitting = int(SHARE_OF_FREE_MEMORY * _free_bytes(model.device) / needed)
    return max(1, min(fitting, MOST[model.device.type], len(requests)))


def bytes_a_token(model: Any) -> int:
    """Bytes of the keys and values of one token in all layers."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * size * torch.finfo(model.dtype).bits // 8


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free, limit = psutil.virtual_memory().available, memory_limit()
    return free if limit is None else max(0, min(free, limit - psutil.Process().memory_info().rss))
