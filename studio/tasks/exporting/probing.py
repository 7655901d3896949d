"""What a model answers and how sure it is, measured with torch alone, so that every runtime can be asked the same.

Loaded by path into environments of other engines: it must import nothing but torch, numpy and the standard library.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch


def probe(model: Any, request: Mapping[str, Any], logits_file: Path) -> dict[str, Any]:
    """Ask `model` and measure it.

    `request`: `prompts` are lists of token ids; `rows` have `ids` and the index `start` from which they are measured;
    `ends` are the ids that end an answer, `answer_tokens` the most tokens of one. `answers`, if given, are those of
    another model, on which the logits are taken instead of on its own.
    Gives the greedy answers, perplexity over the rows (None without), tokens a second; the logits before each token of
    the answers go into `logits_file` (npz, one float32 array [tokens, vocabulary] a prompt).
    """
    model.eval()
    answers: list[list[int]] = []
    begun, made = time.perf_counter(), 0
    with torch.no_grad():
        for prompt in request["prompts"]:
            answer = _answer(model, prompt, request)
            answers.append(answer)
            made += len(answer)
        seconds = time.perf_counter() - begun
        followed = request.get("answers") or answers
        arrays = [_logits(model, prompt, answer) for prompt, answer in zip(request["prompts"], followed, strict=True)]
        loss, count = _loss(model, request["rows"])
    np.savez(logits_file, *arrays)
    return {
        "answers": answers,
        "perplexity": _perplexity(loss, count),
        "measured_tokens": count,
        "tokens_per_second": made / seconds if made else None,
    }


def _answer(model: Any, prompt: Sequence[int], request: Mapping[str, Any]) -> list[int]:
    ids = torch.tensor([list(prompt)], device=_device(model))
    made = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=request["answer_tokens"],
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        eos_token_id=list(request["ends"]),
        pad_token_id=request["ends"][0],
    )
    return made[0, len(prompt) :].tolist()


def _logits(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> np.ndarray:
    ids = torch.tensor([[*prompt, *answer]], device=_device(model))
    found = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0]
    # From the end: a soft prompt has places, and so logits, of its own in front.
    return found[-len(answer) - 1 : -1].float().cpu().numpy()


def _loss(model: Any, rows: Sequence[Mapping[str, Any]]) -> tuple[float, int]:
    """The sum of the negative log-likelihoods, in nats, and over how many tokens."""
    total, count = 0.0, 0
    for row in rows:
        start = row["start"]
        ids = torch.tensor([row["ids"]], device=_device(model))
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0]
        wanted = ids[0, start:]
        measured = logits[-len(wanted) - 1 : -1].float()
        total += float(torch.nn.functional.cross_entropy(measured, wanted, reduction="sum"))
        count += len(wanted)
    return total, count


def _perplexity(loss: float, count: int) -> float | None:
    """exp of the mean; infinite when it is beyond what a float holds, and for a loss that is no number."""
    if not count:
        return None
    return math.exp(loss / count) if math.isfinite(loss) and loss / count < 700 else math.inf


def _device(model: Any) -> Any:
    return next(model.parameters()).device
