"""llama.cpp beside a GGUF file, where its engine is installed: K-quants, and the file measured by its own runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.config.workspace import Workspace
from studio.runs.engines import interpreter, look
from studio.tasks.exporting.children import call
from studio.tasks.exporting.companions import tokenizer_folder
from studio.tasks.exporting.work import Work

ENGINE = "llama-cpp"
SCRIPT = Path(__file__).with_name("llama_engine.py")

# What tokenizers disagree on, if they do: spaces before digits, numbers, marks, other scripts, signs outside the plane.
TEXTS = (
    "Hello world, it's 2024-01-01 at 12:30!\n\n\tA tab",
    "def f(x):\n    return x**2  # 100 %",
    "Grüße aus Köln, 你好世界, مرحبا, привет",
    "1234567 $99.99 don't I'LL we've 🙂",
)


def installed(workspace: Workspace) -> bool:
    """Whether llama.cpp can be asked."""
    return look(workspace, ENGINE).ready


def quantize(work: Work, source: Path, target: Path, kind: str) -> dict[str, Any]:
    """Write `target` in a type that only llama.cpp makes. Raises TaskError, EngineError."""
    work.reporter.phase("quantizing", kind)
    request = {"do": "quantize", "source": str(source), "target": str(target), "type": kind, "threads": _threads(work)}
    return _call(work, request)


def measure(work: Work, file: Path, tokens: Mapping[str, Any], logits: Path) -> dict[str, Any]:
    """What llama.cpp finds in the file; a tokenizer that cuts otherwise is said. Raises TaskError, EngineError."""
    from tokenizers import Tokenizer

    request = {"do": "measure", "file": str(file), "tokens": dict(tokens), "logits": str(logits), "texts": TEXTS}
    found = _call(work, {**request, "threads": _threads(work)})
    own = Tokenizer.from_file(str(tokenizer_folder(work.subject) / "tokenizer.json"))
    wrong = [
        text
        for text, ids in zip(TEXTS, found["tokenized"], strict=True)
        if own.encode(text, add_special_tokens=False).ids != ids
    ]
    if wrong:
        work.reporter.notice(f"llama.cpp cuts {wrong[0]!r} into other tokens than the tokenizer does.")
    return found


def _call(work: Work, request: Mapping[str, Any]) -> dict[str, Any]:
    python = interpreter(work.workspace, ENGINE)
    return call([str(python), "-P", str(SCRIPT)], request, work.scratch, {"PYTHONPATH": ""}, work.scratch)


def _threads(work: Work) -> int:
    return work.config.devices.cpu_threads or int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count() or 1
