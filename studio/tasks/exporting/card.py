"""The model card of an export: what it is, what it was made from, and how it compares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from studio import __version__
from studio.config.export import ExportConfig
from studio.runs.export_subject import Subject
from studio.tasks.exporting.comparison import Comparison

_FOLDERS = ("/", ".", "~", "models/", "saves/", "exports/")  # a base that begins so is no id on a hub
_LIBRARY = {"adapter": "peft", "gguf": "gguf"}


def card(config: ExportConfig, subject: Subject, results: Mapping[str, Any], comparison: Comparison | None) -> str:
    """The text of README.md, with the header that hubs read."""
    parts = [_header(config, subject), f"# {results['name']}", _what(config, subject)]
    if comparison is not None:
        parts += ["## Compared with the tuned model", _table(comparison)]
        if comparison.reason:
            parts.append(f"**{comparison.verdict.capitalize()}.** {comparison.reason}")
    else:
        parts.append(str(results.get("not_compared", "")))
    if subject.run is not None:
        parts += ["## Training", _training(subject)]
    parts.append(f"Made with Studio {__version__}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(config: ExportConfig, subject: Subject) -> str:
    facts: dict[str, Any] = {"library_name": _LIBRARY.get(config.format.type, "transformers")}
    if subject.base.count("/") == 1 and not subject.base.startswith(_FOLDERS):
        facts["base_model"] = subject.base
    facts["pipeline_tag"] = "text-generation"
    return f"---\n{yaml.safe_dump(facts, sort_keys=False)}---"


def _what(config: ExportConfig, subject: Subject) -> str:
    count = len(subject.adapters)
    base = PurePosixPath(subject.base.rstrip("/")).name
    merged = f" with {count} adapter{'s' if count > 1 else ''} merged in" if count else ""
    texts = {
        "merged": f"{base}{merged}.",
        "adapter": f"A LoRA adapter for {base}. Load the base model first, then this with peft.",
        "bitsandbytes": f"{base}{merged}, in {getattr(config.format, 'bits', '')} bits of bitsandbytes.",
        "gptq": f"{base}{merged}, in {getattr(config.format, 'bits', '')} bits of GPTQ.",
        "gguf": f"{base}{merged}, as GGUF in {getattr(config.format, 'quantization', '')}. "
        "`ollama create NAME -f Modelfile` makes it known to Ollama.",
    }
    return texts[config.format.type]


def _table(comparison: Comparison) -> str:
    rows = [
        ("", "tuned model", "this export"),
        ("---", "---", "---"),
        ("perplexity", _number(comparison.perplexity_before), _number(comparison.perplexity_after)),
        ("tokens a second", _number(comparison.tokens_per_second_before), _number(comparison.tokens_per_second_after)),
        ("same most likely token", "", f"{100 * comparison.same_tokens:.1f} %"),
        ("same greedy answers", "", f"{comparison.same_answers} of {comparison.answers}"),
        ("largest difference of a logit", "", _number(comparison.largest_difference)),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"


def _training(subject: Subject) -> str:
    run = subject.run
    assert run is not None
    facts = {
        "stage": run.stage.type,
        "method": run.method.type,
        "datasets": ", ".join(run.data.datasets),
        "learning rate": f"{run.optimisation.learning_rate:g}",
        "epochs": f"{run.optimisation.num_train_epochs:g}",
        "base in memory": run.quantization.type,
        "seed": str(run.seed),
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())
