"""GPTQ: merge, then quantize in the engine's own environment, on rows of the registry; some rows are held back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.config.export import ExportConfig, Gptq
from studio.config.workspace import Workspace
from studio.data.reading import read_datasets
from studio.runs.artifacts import model_tensors
from studio.runs.atomic import read_json, write_json
from studio.runs.engines import interpreter
from studio.runs.export_plan import check_groups
from studio.runs.export_subject import Subject
from studio.tasks.exporting.children import call
from studio.tasks.exporting.companions import copy_companions, template_of, tokenizer_folder
from studio.tasks.exporting.merged import merged_folder
from studio.tasks.exporting.rows import Row, as_row, token_rows
from studio.tasks.exporting.verification import calibration_names
from studio.tasks.exporting.work import Work, Written
from studio.tasks.failures import TaskError

HELD_BACK = 0.2  # of the calibration rows, at least one, at most as many as are measured
FEWEST_ROWS = 2

SCRIPT = Path(__file__).with_name("gptq_engine.py")
ADVICE = "The log says where. Fewer bits need more calibration rows; very small models may not fit the group size."


def check(workspace: Workspace, config: ExportConfig, subject: Subject) -> None:
    """Raise EngineError without the engine, TaskError without data and GroupsDoNotFit, before the work instead of
    after it."""
    interpreter(workspace, "gptq")
    if subject.base_folder is not None:
        check_groups(config.format, model_tensors(subject.base_folder).values())
    if not calibration_names(config, subject):
        raise TaskError("data", "GPTQ needs calibration data.", "Name datasets of the registry in format.calibration.")


def write(work: Work) -> Written:
    """Write the quantized model into the draft. Raises TaskError, EngineError, DataError, OSError."""
    target = work.config.format
    assert isinstance(target, Gptq)
    python = interpreter(work.workspace, "gptq")
    learnt, held = calibration(work, target)
    folder = merged_folder(work)
    work.reporter.phase("quantizing", f"{target.bits} bits on {len(learnt)} rows")
    request = {
        "do": "quantize",
        "folder": str(folder),
        "target": str(work.draft),
        "bits": int(target.bits),
        "group_size": int(target.group_size),
        "act_order": target.act_order,
        "rows": tokens_of(work, learnt, target.length),
        "device": work.machine.device,
        "advice": ADVICE,
    }
    facts = call([str(python), "-P", str(SCRIPT)], request, work.scratch, _environment(work), work.scratch)
    shutil.rmtree(folder)
    _forget_this_machine(work.draft)
    copy_companions(work.subject, work.draft)
    facts = {**facts, "calibration": calibration_names(work.config, work.subject), "held_back_rows": len(held)}

    def probe(tokens: Mapping[str, Any], logits: Path) -> dict[str, Any]:
        asked = {"do": "measure", "folder": str(work.draft), "tokens": dict(tokens), "logits": str(logits)}
        asked |= {"device": work.machine.device, "advice": "The log says where."}
        return call([str(python), "-P", str(SCRIPT)], asked, work.scratch, _environment(work), work.scratch)

    return Written(exact=False, probe=probe, facts=facts, rows=tuple(held))


def calibration(work: Work, target: Gptq) -> tuple[list[Row], list[Row]]:
    """Rows to quantize on, and rows held back to measure on; the held-back ones are spread over the whole.

    Raises DataError for an unknown dataset, TaskError for too few rows.
    """
    names = calibration_names(work.config, work.subject)
    most = work.config.verification.rows
    wanted = target.rows + min(most, max(1, int(target.rows * HELD_BACK)))
    examples = read_datasets(work.workspace, names, strict=False, seed=42).examples
    rows = [row for example in examples if (row := as_row(example)) is not None]
    step = max(1, len(rows) // wanted)
    rows = rows[::step][:wanted]  # a stride, as datasets are often sorted by subject
    if len(rows) < FEWEST_ROWS:
        raise TaskError(
            "data",
            f"GPTQ needs at least {FEWEST_ROWS} conversations or texts, and {', '.join(names)} hold {len(rows)}.",
            "Name other datasets in format.calibration.",
        )
    count = min(most, max(1, int(len(rows) * HELD_BACK)), len(rows) - 1)
    every = len(rows) // count if count else len(rows) + 1
    held = rows[every - 1 :: every][:count]
    return [row for row in rows if not any(row is other for other in held)], held


def tokens_of(work: Work, rows: Sequence[Mapping[str, Any]], length: int) -> list[list[int]]:
    """The rows as token ids. Raises TaskError when none is left."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(work.subject))
    found = token_rows(tokenizer, template_of(work.subject), rows, length)
    if not found:
        raise TaskError(
            "data",
            "None of the calibration rows can be turned into text by the chat template of this model.",
            "Name datasets of plain text in format.calibration, or a template in subject.chat_template.",
        )
    return found


def _forget_this_machine(draft: Path) -> None:
    """Take the engine's own log, and the folder that it worked in, out of what others will get."""
    (draft / "quant_log.csv").unlink(missing_ok=True)
    for name in ("config.json", "quantize_config.json"):
        tree = read_json(draft / name)
        if isinstance(tree, dict):
            tree.get("quantization_config", tree).get("meta", {}).pop("offload_to_disk_path", None)
            write_json(draft / name, tree, durable=False)


def _environment(work: Work) -> dict[str, str]:
    """What the engine's processes need: offline, none of Studio's paths, and enough workers."""
    # gptqmodel asks its pool for two workers, and on less than three cores makes the pool with one.
    workers = max(2, ((os.cpu_count() or 1) + 1) // 2)
    threads = work.config.devices.cpu_threads
    extra = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    own = {"GPTQMODEL_CPU_WORKERS": str(workers), "HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "TMPDIR": str(work.scratch)}
    return {**own, **extra}
