"""What a soft prompt puts in front of every input, so that a loop of our own can decode with it.

Prompt tuning and P-tuning put embeddings there, prefix tuning keys and values. Both take the first places: a token of
the input stands as many places further on as there are vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from studio.tasks.adapter import load


@dataclass(frozen=True)
class SoftPrompt:
    """`places` vectors: either `embeddings` of shape (1, places, width), or `states`, each layer's keys and values of
    shape (1, heads, places, size of a head)."""

    places: int
    embeddings: torch.Tensor | None
    states: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()

    def forward(self, model: Any, ids: torch.Tensor, **options: Any) -> tuple[Any, DynamicCache]:
        """What the base `model` gives for one input `ids` (1, tokens) behind the prompt, and its filled cache.

        The logits of embeddings' own places come first, unless `logits_to_keep` leaves them out.
        """
        cache = DynamicCache()
        first = 0 if self.embeddings is not None else self.places
        for layer, (keys, values) in enumerate(self.states):
            cache.update(keys.clone(), values.clone(), layer)
        places = torch.arange(first, self.places + ids.shape[1], device=ids.device)[None]
        given: dict[str, Any] = {"input_ids": ids}
        if self.embeddings is not None:
            own = model.get_input_embeddings()(ids)
            given = {"inputs_embeds": torch.cat([self.embeddings.to(own.dtype), own], dim=1)}
        output = model(**given, position_ids=places, past_key_values=cache, use_cache=True, **options)
        return output, cache


@torch.no_grad()
def read_soft_prompt(model: Any, folder: Path) -> SoftPrompt:
    """The soft prompt in `folder` for the base `model`, which stays as it is. Raises TaskError when it does not fit."""
    wrapped = load(getattr(model, "get_base_model", lambda: model)(), folder)
    prompt, places = wrapped.get_prompt(batch_size=1), wrapped.active_peft_config.num_virtual_tokens
    if isinstance(prompt, torch.Tensor):
        return SoftPrompt(places, prompt.clone())
    return SoftPrompt(places, None, tuple((layer.keys.clone(), layer.values.clone()) for layer in prompt.layers))
