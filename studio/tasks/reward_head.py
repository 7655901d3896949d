"""What a model that gives scores needs beside its head: exact numbers, and padding that cannot be taken for an end."""

from __future__ import annotations

from typing import Any


def padding_token(tokenizer: Any) -> str:
    """A token for padding that ends no answer.

    The head reads the last token of a row that is no padding. Where the end token is the padding too, as in many
    tokenizers, it would read the token before it, and an answer that was cut off would look like one that has ended.
    """
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return tokenizer.pad_token
    others = (token for token in (tokenizer.unk_token, *tokenizer.all_special_tokens) if token)
    return next((token for token in others if token != tokenizer.eos_token), tokenizer.convert_ids_to_tokens(0))


def stay_exact(model: Any) -> Any:
    """The model with its head in float32: in 16 bits, answers of nearly the same score could not be told apart."""
    head = getattr(model, "score", None)  # encoders such as DeBERTa have a head of another form, which stays as it is
    if head is not None:
        head.float()
        head.register_forward_pre_hook(_as_the_head)
    return model


def _as_the_head(head: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0].to(head.weight.dtype), *inputs[1:])
