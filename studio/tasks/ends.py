"""The tokens that end an answer: what generation waits for."""

from __future__ import annotations

from typing import Any

from studio.data.examples import DataError, Message
from studio.tasks.spans import Conversation


def end_tokens(model: Any, tokenizer: Any, template: str) -> frozenset[int]:
    """The ids that the model's generation config, the tokenizer and the chat template ("" for none) name."""
    known = model.generation_config.eos_token_id
    ends = set(known if isinstance(known, list) else [known]) | {tokenizer.eos_token_id}
    if template:
        try:
            closing = Conversation([Message("user", "?"), Message("assistant", "!")], tokenizer, template).closing_of(1)
        except DataError:  # a template that takes no such conversation names no end of its own
            closing = ""
        if closing:
            ends.add(tokenizer.convert_tokens_to_ids(closing))
    return frozenset(end for end in ends if end is not None)
