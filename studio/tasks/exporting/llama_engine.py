"""Run by the interpreter of the engine llama-cpp: quantize a GGUF file, or load one and measure it.

`python -P llama_engine.py REQUEST RESULT`. It imports nothing of Studio, which this environment does not have.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

Request = Mapping[str, Any]


def main(asked: Path, answered: Path) -> int:
    """Do what the request says, write what came out or why not, and return the exit code."""
    request = json.loads(asked.read_text(encoding="utf-8"))
    try:
        result = quantize(request) if request["do"] == "quantize" else measure(request)
    except Exception as error:
        logging.exception("the engine failed")
        text = " ".join(str(error).split())[:600]
        failure = {"kind": "gguf", "cause": f"llama.cpp failed: {text}", "advice": "The log says where."}
        answered.write_text(json.dumps({"failure": failure}), encoding="utf-8")
        return 1
    answered.write_text(json.dumps(result), encoding="utf-8")
    return 0


def quantize(request: Request) -> dict[str, Any]:
    """Write `target` from the GGUF file `source` in the type of that name, such as q4_k_m."""
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{_constant(request['type'])}")
    options.nthread = request["threads"]
    begun = time.perf_counter()
    code = llama_cpp.llama_model_quantize(os.fsencode(request["source"]), os.fsencode(request["target"]), options)
    if code != 0:
        raise RuntimeError(f"llama_model_quantize ended with {code}")
    return {"quantize_seconds": round(time.perf_counter() - begun, 1)}


def _constant(name: str) -> str:
    """q4_k_m as llama.cpp's constants spell it: Q4_K_M."""
    return name.upper()


def measure(request: Request) -> dict[str, Any]:
    """Load the file and measure it as probing.py measures models of transformers; also turn `texts` into tokens."""
    tokens = request["tokens"]
    longest = max([len(row["ids"]) for row in tokens["rows"]] + [len(row) for row in tokens["prompts"]] + [1])
    size = longest + tokens["answer_tokens"] + 8
    model = llama_cpp.Llama(
        request["file"],
        n_ctx=size,
        n_batch=size,
        n_ubatch=size,
        n_threads=request["threads"],
        n_threads_batch=request["threads"],
        logits_all=True,
        verbose=False,
    )
    begun, made = time.perf_counter(), 0
    answers: list[list[int]] = []
    for prompt in tokens["prompts"]:
        answer = _answer(model, prompt, tokens)
        answers.append(answer)
        made += len(answer)
    seconds = time.perf_counter() - begun
    followed = tokens.get("answers") or answers
    arrays = [
        _logits(model, [*prompt, *answer])[len(prompt) - 1 : -1]
        for prompt, answer in zip(tokens["prompts"], followed, strict=True)
    ]
    np.savez(request["logits"], *arrays)
    losses = [_loss(model, row["ids"], row["start"]) for row in tokens["rows"]]
    count = sum(len(row["ids"]) - row["start"] for row in tokens["rows"])
    return {
        "answers": answers,
        "perplexity": math.exp(min(sum(losses) / count, 700)) if count else None,
        "measured_tokens": count,
        "tokens_per_second": made / seconds if made else None,
        "texts": [model.detokenize(answer).decode(errors="replace").strip() for answer in answers],
        "tokenized": [model.tokenize(text.encode(), add_bos=False, special=True) for text in request["texts"]],
    }


def _answer(model: Any, prompt: Sequence[int], tokens: Mapping[str, Any]) -> list[int]:
    answer: list[int] = []
    model.reset()
    model.eval(list(prompt))
    while len(answer) < tokens["answer_tokens"]:
        token = int(np.argmax(model.scores[model.n_tokens - 1]))
        answer.append(token)
        if token in tokens["ends"]:
            break
        model.eval([token])
    return answer


def _logits(model: Any, ids: Sequence[int]) -> np.ndarray:
    model.reset()
    model.eval(list(ids))
    return np.array(model.scores[: len(ids)], dtype=np.float32)


def _loss(model: Any, ids: Sequence[int], start: int) -> float:
    """The sum of the negative log-likelihoods in nats, of the tokens from the index `start`."""
    logits = _logits(model, ids)[start - 1 : -1].astype(np.float64)
    top = logits.max(axis=1)
    norm = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((norm - logits[np.arange(len(logits)), list(ids)[start:]]).sum())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
