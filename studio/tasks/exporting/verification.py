"""Verify an export before it gets its name: both models are loaded one after the other, each in a fresh process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from studio.config.export import ExportConfig
from studio.data.reading import read_datasets
from studio.runs.artifacts import read_config
from studio.runs.atomic import write_json
from studio.runs.export_subject import Subject
from studio.tasks.exporting.children import call_part
from studio.tasks.exporting.companions import end_ids, template_of, tokenizer_folder
from studio.tasks.exporting.comparison import Comparison, compare
from studio.tasks.exporting.positions import trained_config
from studio.tasks.exporting.rows import Row, as_row
from studio.tasks.exporting.work import Work, Written

logger = logging.getLogger(__name__)


def verify(work: Work, written: Written, memory: int | None) -> tuple[Comparison | None, str]:
    """The comparison with the tuned model; None and the reason where it cannot be made.

    `memory` is what it is thought to take, in bytes. Raises TaskError when the export cannot be loaded at all.
    """
    if not work.config.verification.compare:
        return None, "It was not compared, as verification.compare is off."
    if written.not_compared:
        return None, written.not_compared
    available = psutil.virtual_memory().available
    if memory is not None and work.machine.device == "cpu" and memory > available:
        return None, (
            f"It was not compared: that takes about {memory / 2**30:.1f} GiB of memory, and {available / 2**30:.1f} "
            "GiB are available."
        )
    work.reporter.phase("verifying", "the tuned model")
    before = call_part("studio.tasks.exporting.probe", _tuned(work, written), work.scratch)
    work.reporter.phase("verifying", "the export")
    tokens = {**before["tokens"], "answers": before["answers"]}
    after_logits = work.scratch / "after.npz"
    if written.probe is not None:
        after = written.probe(tokens, after_logits)
    else:
        after = call_part("studio.tasks.exporting.probe", _export(work, written, tokens, after_logits), work.scratch)
    found = compare(before, after, work.scratch / "before.npz", after_logits, exact=written.exact)
    logger.info("tuned model answers: %s", before["texts"])
    logger.info("export answers: %s", after.get("texts", after["answers"]))
    return found, ""


def rows_of(config: ExportConfig, subject: Subject) -> list[str]:
    """The datasets to measure on: the chosen ones, else those of the run, held-back ones first."""
    if config.verification.datasets:
        return list(config.verification.datasets)
    if subject.run is None:
        return []
    return list(subject.run.data.validation_datasets or subject.run.data.datasets)


def calibration_names(config: ExportConfig, subject: Subject) -> list[str]:
    """The datasets that GPTQ learns on: the chosen ones, else those that the run was trained on."""
    chosen = list(getattr(config.format, "calibration", ()))
    return chosen or (list(subject.run.data.datasets) if subject.run else [])


def _rows(work: Work, written: Written) -> list[Row]:
    wanted = work.config.verification.rows
    if written.rows:
        return list(written.rows[:wanted])
    names = rows_of(work.config, work.subject)
    if not wanted or not names:
        return []
    examples = read_datasets(work.workspace, names, max_samples=wanted, strict=False).examples
    return [row for example in examples if (row := as_row(example)) is not None][:wanted]


def _tuned(work: Work, written: Written) -> Row:
    """The tuned model as it was trained: the base with its adapters beside it."""
    verification = work.config.verification
    assert work.subject.base_folder is not None
    return {
        **_shared(work),
        "folder": str(work.subject.base_folder),
        "config": str(_settings(work, work.subject.base_folder)),
        "adapters": [str(folder) for folder in work.subject.adapters],
        "dtype": written.dtype,
        "tokenizer": str(tokenizer_folder(work.subject)),
        "template": template_of(work.subject),
        "questions": verification.questions,
        "rows": _rows(work, written),
        "length": verification.length,
        "answer_tokens": verification.answer_tokens,
        "ends": end_ids(work.subject.base_folder),
        "logits": str(work.scratch / "before.npz"),
    }


def _settings(work: Work, base: Path) -> Path:
    """A folder with the config of the tuned model, which is the base's but for stretched positions."""
    folder = work.scratch / "tuned"
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", trained_config(work.subject, read_config(base)), durable=False)
    return folder


def _export(work: Work, written: Written, tokens: Mapping[str, Any], logits: Path) -> Row:
    base = work.subject.base_folder
    assert base is not None
    return {
        **_shared(work),
        "adapters": [],
        "dtype": written.dtype,
        "tokenizer": str(tokenizer_folder(work.subject)),
        "tokens": dict(tokens),
        "logits": str(logits),
        **({"config": str(_settings(work, base))} if written.request.get("folder") == str(base) else {}),
        **written.request,
    }


def _shared(work: Work) -> Row:
    return {"device": work.machine.device, "threads": work.config.devices.cpu_threads}
