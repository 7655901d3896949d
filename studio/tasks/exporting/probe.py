"""A process that loads one model with transformers and measures it: the tuned model, or an export of it."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.tasks.adapter import load, merged
from studio.tasks.exporting import children
from studio.tasks.exporting.probing import probe
from studio.tasks.exporting.rows import measured_rows, rendered
from studio.tasks.failures import TaskError
from studio.tasks.peak import peak_bytes

Request = Mapping[str, Any]

logger = logging.getLogger(__name__)


def run(request: Request) -> dict[str, Any]:
    """Load what `request` names and measure it; the first time also turn questions and rows into tokens."""
    import torch

    if request["threads"]:
        torch.set_num_threads(request["threads"])
    tokens = dict(request["tokens"]) if request.get("tokens") else _tokens(request)
    begun = time.perf_counter()
    model = _load(request)
    logger.info("loaded %s in %.1f s", request["folder"], time.perf_counter() - begun)
    found = probe(model, tokens, Path(request["logits"]))
    return {**found, "tokens": tokens, "texts": _texts(request, found["answers"]), "peak_memory_bytes": peak_bytes()}


def _tokens(request: Request) -> dict[str, Any]:
    """Questions and rows as token ids, by the tokenizer and the chat template that are exported."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(request["tokenizer"])
    template = request["template"]
    prompts = [_prompt(tokenizer, template, question) for question in request["questions"]]
    ends = sorted({id for id in (tokenizer.eos_token_id, *request["ends"]) if id is not None})
    return {
        "prompts": prompts,
        "rows": measured_rows(tokenizer, template, request["rows"], request["length"]),
        "ends": ends or [0],
        "answer_tokens": request["answer_tokens"],
    }


def _prompt(tokenizer: Any, template: str, question: str) -> list[int]:
    text = rendered(tokenizer, template, [{"role": "user", "content": question}], prompt=True)
    return tokenizer(question if text is None else text, add_special_tokens=text is None)["input_ids"]


def _load(request: Request) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig

    options: dict[str, Any] = {"dtype": "auto" if request["dtype"] == "auto" else getattr(torch, request["dtype"])}
    if request.get("gguf"):
        # transformers reads few of the settings that lie in the file: the weights are what is measured.
        options |= {"gguf_file": request["gguf"], "quantization_config": GgufConfig(dequantize=True)}
    else:
        options["use_safetensors"] = True
    if request.get("config"):
        options["config"] = AutoConfig.from_pretrained(request["config"])
    if request["device"] == "cuda":
        options["device_map"] = {"": 0}
    elif request.get("quantized"):
        options["device_map"] = {"": "cpu"}
    loaded: Any = AutoModelForCausalLM.from_pretrained(request["folder"], output_loading_info=True, **options)
    model, report = loaded
    if report["missing_keys"]:
        raise TaskError(
            "model", f"{request['folder']} lacks the weights {', '.join(sorted(report['missing_keys'])[:3])}."
        )
    return _with_adapters(model, request["adapters"])


def _with_adapters(model: Any, adapters: list[str]) -> Any:
    """All adapters but the last merged, the last one beside the weights, as it was trained."""
    if not adapters:
        return model
    folders = [Path(folder) for folder in adapters]
    return load(merged(model, folders[:-1]), folders[-1])


def _texts(request: Request, answers: list[list[int]]) -> list[str]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(request["tokenizer"])
    return [tokenizer.decode(answer, skip_special_tokens=True).strip() for answer in answers]


if __name__ == "__main__":
    sys.exit(children.main(run))
