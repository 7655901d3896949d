"""Public tests through lm-evaluation-harness, an optional package, on the model that is loaded already."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.config.evaluate import BenchmarksConfig
from studio.config.workspace import Workspace
from studio.runs.evaluation_results import BENCHMARKS
from studio.tasks.evaluating.candidates import Seat
from studio.tasks.evaluating.ledger import Ledger
from studio.tasks.failures import TaskError

KEYS = ("candidate", "task", "metric")

logger = logging.getLogger(__name__)


def check_package() -> None:
    """Raise TaskError when lm-eval is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        raise TaskError(
            "package",
            "benchmarks.tasks needs the package lm-eval, which is not installed.",
            "Install it into Studio's environment: pip install 'studio[benchmarks]' (or lm-eval). Or empty "
            "benchmarks.tasks.",
        )


def run_tasks(config: BenchmarksConfig, seat: Seat, workspace: Workspace, folder: Path) -> None:
    """Run the tasks on one candidate and write a row for each metric; tasks that have rows already are left out.

    Raises TaskError for unknown tasks.
    """
    ledger = Ledger(folder / BENCHMARKS, KEYS)
    known = {key[1] for key in ledger.done if key[0] == seat.candidate.name}
    todo = [task for task in config.tasks if task not in known]
    if todo:
        for row in measured(_evaluate(config, todo, seat, workspace)):
            ledger.write({"candidate": seat.candidate.name, **row})
    ledger.close()


def _evaluate(config: BenchmarksConfig, tasks: list[str], seat: Seat, workspace: Workspace) -> Mapping[str, Any]:
    import lm_eval  # pyright: ignore[reportMissingImports]
    from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    include = str(workspace.resolve(config.include)) if config.include else None
    manager = TaskManager(include_path=include)
    unknown = [task for task in tasks if not manager.match_tasks([task])]
    if unknown:
        raise TaskError(
            "benchmarks",
            f"lm-eval has no task {unknown[0]!r}.",
            "`lm-eval ls tasks` lists them; your own lie in the folder that benchmarks.include names.",
        )
    model = HFLM(pretrained=seat.model, tokenizer=seat.tokenizer, batch_size=8)
    found = lm_eval.simple_evaluate(
        model=model,
        tasks=tasks,
        task_manager=manager,
        num_fewshot=config.few_shot,
        limit=config.limit,
        apply_chat_template=config.chat,
        bootstrap_iters=1000,
        log_samples=False,
    )
    return found or {}


def measured(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of task, metric, value, standard error and number of questions from what lm-eval gives."""
    for task, values in found.get("results", {}).items():
        rows = found.get("n-samples", {}).get(task, {}).get("effective")
        for key, value in values.items():
            metric, _, variant = key.partition(",")
            if not isinstance(value, int | float) or metric.endswith("_stderr") or not variant:
                continue
            error = values.get(f"{metric}_stderr,{variant}")
            name = metric if variant == "none" else f"{metric} ({variant})"
            number = float(error) if isinstance(error, int | float) else None
            yield {"task": task, "metric": name, "value": float(value), "error": number, "rows": rows}
