"""How probable the references are to a model: the trainer's own labels, fed token by token (teacher forcing)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from studio.tasks.evaluating.answering import is_memory, out_of_memory, padded
from studio.tasks.evaluating.questions import Prepared
from studio.tasks.soft_prompt import SoftPrompt
from studio.tasks.tokenize import IGNORED

TOKENS_AT_ONCE = {"cpu": 2048, "cuda": 16384}
LOGITS_AT_ONCE = 64_000_000  # numbers: 256 MB in float32


@dataclass(frozen=True)
class Loss:
    """The loss of one reference: the sum over its `tokens`, in nats."""

    row: Prepared
    total: float
    tokens: int


def losses(
    model: Any,
    rows: Sequence[Prepared],
    pad: int,
    notice: Callable[[str], None],
    go_on: Callable[[], bool],
    front: SoftPrompt | None = None,
) -> Iterator[Loss]:
    """The loss of each row that has something to predict, longest first; ends early when `go_on` says no.

    Behind a soft prompt `front` rows go one by one. Raises TaskError when memory does not suffice for a single row.
    """
    waiting = sorted((row for row in rows if row.whole.trained), key=lambda row: len(row.whole.input_ids), reverse=True)
    most = 1 if front else len(waiting)
    while waiting and go_on():
        count = min(most, _count(waiting, model))
        try:
            yield from _batch(model, waiting[:count], pad, front)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_memory(error):
                raise
            if count == 1:
                raise out_of_memory("measure the loss of") from error
            most = count // 2
            notice(f"Memory ran out, so the loss of {most} rows is measured at a time from here on.")
            continue
        waiting = waiting[count:]


def _count(rows: Sequence[Prepared], model: Any) -> int:
    """How many of the first rows go through the model together, within bounds of tokens and of logits."""
    longest, vocabulary = len(rows[0].whole.input_ids), model.config.get_text_config().vocab_size
    count, answer = 0, 1
    for row in rows:
        answer = max(answer, _answer_length(row))
        count += 1
        if count * longest > TOKENS_AT_ONCE[model.device.type] or count * answer * vocabulary > LOGITS_AT_ONCE:
            return max(1, count - 1)
    return count


def _answer_length(row: Prepared) -> int:
    """Tokens from the first label to the end, with the one before that predicts it."""
    first = next(place for place, label in enumerate(row.whole.labels[1:], 1) if label != IGNORED)
    return len(row.whole.labels) - first + 1


@torch.inference_mode()
def _batch(model: Any, rows: Sequence[Prepared], pad: int, front: SoftPrompt | None) -> list[Loss]:
    """Rows end at the same column, so the logits of the longest answer are the last ones of all."""
    ids, mask = padded([row.whole.input_ids for row in rows], pad, model.device)
    # Nothing stands before a row's first token that could predict it.
    labels, _ = padded([[IGNORED, *row.whole.labels[1:]] for row in rows], IGNORED, model.device)
    keep = max(_answer_length(row) for row in rows)
    base = getattr(model, "get_base_model", lambda: model)()
    few = {"logits_to_keep": keep} if "logits_to_keep" in inspect.signature(base.forward).parameters else {}
    if front:
        output, _ = front.forward(model, ids, **few)
    else:
        positions = (mask.cumsum(dim=-1) - 1).clamp_min(0)
        output = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, **few)
    found: list[Loss] = []
    for row, logits, wanted in zip(rows, output.logits[:, -keep:-1], labels[:, 1 - keep :], strict=True):
        total = cross_entropy(logits.float(), wanted, ignore_index=IGNORED, reduction="sum")
        found.append(Loss(row, float(total), row.whole.trained))
    return found
