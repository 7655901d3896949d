"""New tokens: added to the tokenizer, given rows in the embeddings, and found again by what was trained with them.

A new row begins as the mean of all known ones, so the same base always gives the same start. An adapter keeps the
trained rows whole, and its adapter_config.json which rows they are: that is how much a base must grow to carry it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from studio.runs.atomic import read_json
from studio.tasks.failures import TaskError


def add_tokens(tokenizer: Any, words: Sequence[str]) -> list[int]:
    """Make each of `words` one token, unless it is one already. The ids that came in."""
    known = len(tokenizer)
    tokenizer.add_tokens(list(words))
    return list(range(known, len(tokenizer)))


def make_room(model: Any, known: int, ids: Sequence[int]) -> None:
    """Give the model a row for each of `ids`, beginning as the mean of the first `known` rows, in both embeddings.

    The ids are left at the model as `new_token_ids`, so that the method trains their rows. Raises TaskError.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    new = sorted({*ids, *range(rows, max(ids, default=-1) + 1)})
    grow(model, max(new, default=-1) + 1)
    for table in _tables(model):
        weight = table.weight.data
        weight[new] = weight[: min(known, rows)].float().mean(dim=0).to(weight.dtype)
    model.new_token_ids = new


def grow(model: Any, rows: int) -> None:
    """Let both embeddings have at least so many rows; further ones are zero. Raises TaskError when they cannot grow."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    table = base.get_input_embeddings()
    if table.weight.shape[0] >= rows:
        return
    if hasattr(table, "token_adapter") or not all(_is_plain(one) for one in _tables(base)):
        raise TaskError(
            "tokenizer",
            f"The embeddings cannot grow to {rows:,} rows: they are quantized, or another adapter has rows of its own.",
            "Use runs with different new tokens one by one.",
        )
    known = table.weight.shape[0]
    base.resize_token_embeddings(rows, mean_resizing=False)
    for one in _tables(base):
        one.weight.data[known:] = 0


def trained_rows(model: Any, modules_to_save: Sequence[str]) -> dict[str, list[int]] | None:
    """Which rows of which embeddings peft shall train, for a model with new tokens; None for others.

    Output embeddings that share the matrix of the input follow it by themselves. A module that is trained in full
    anyway is left out. Raises TaskError.
    """
    ids = getattr(model, "new_token_ids", None)
    if not ids:
        return None
    tables = _tables(model)
    if getattr(tables[-1], "bias", None) is not None:
        raise TaskError(
            "tokenizer",
            "The output embedding of this model has a bias, which peft leaves out when it trains single rows.",
            "Put the embeddings into method.modules_to_save, or choose method.type=full.",
        )
    names = [next(name for name, module in model.named_modules() if module is table) for table in tables]
    return {name: list(ids) for name in names if not name.endswith(tuple(modules_to_save) or ("\0",))} or None


def settle(model: Any) -> None:
    """What peft leaves open after it wrapped embeddings to train rows of them.

    The output embedding says that it has no bias, for losses that ask. And only those rows are saved: by itself, peft
    saves a whole embedding as soon as it is larger than the base's.
    """
    wrapped = [name for name, _ in model.named_modules() if name.endswith("token_adapter")]
    if not wrapped:
        return
    head = model.get_output_embeddings()
    if hasattr(head, "token_adapter"):
        head.__dict__.setdefault("bias", None)
    model.save_pretrained = partial(model.save_pretrained, save_embedding_layers=False)


def rows_needed(folder: Path) -> int:
    """How many rows the embeddings of a base must have to carry the adapter in `folder`; 0 when any number does."""
    settings = read_json(folder / "adapter_config.json")
    found = settings.get("trainable_token_indices") if isinstance(settings, dict) else None
    lists = found.values() if isinstance(found, dict) else [found or []]
    return max((int(index) + 1 for ids in lists for index in ids), default=0)


def _tables(model: Any) -> list[Any]:
    """The input and the output embedding, once where they share their matrix or there is no output."""
    first, last = model.get_input_embeddings(), model.get_output_embeddings()
    apart = last is not None and last.weight.data_ptr() != first.weight.data_ptr()
    return [first, last] if apart else [first]


def _is_plain(table: Any) -> bool:
    import torch

    return type(table) in (torch.nn.Linear, torch.nn.Embedding) or isinstance(table, torch.nn.Embedding)
