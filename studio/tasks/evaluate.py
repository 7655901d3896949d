"""An evaluation from its config to results.json: top to bottom."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from studio.config.evaluate import EvaluateConfig
from studio.config.shipped import SHIPPED_MODEL
from studio.config.workspace import Workspace
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec
from studio.tasks.adapter import adapter_folder
from studio.tasks.arguments import inference_format, model_arguments, quantization_arguments
from studio.tasks.evaluating.candidates import Candidate, Seat, check_origin, find_candidates, seats
from studio.tasks.evaluating.course import Course
from studio.tasks.evaluating.ledger import begin
from studio.tasks.evaluating.questions import Question, read_questions
from studio.tasks.evaluating.scoring import score
from studio.tasks.machine import detect
from studio.tasks.model import find_model
from studio.tasks.shipped import fetch
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag

FINISHED, STOPPED = 0, 10  # exit codes, as studio.runs reads them
NUMBERS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def run(folder: RunFolder, job: JobSpec, config: EvaluateConfig, reporter: Reporter, stop: StopFlag) -> int:
    """Evaluate as `config` says in the run's folder and return the exit code; what is done already is not done again.

    Raises TaskError, DataError and whatever the libraries raise; the caller explains it.
    """
    workspace = Workspace.of_run(folder.path)
    _check_extras(config)
    if config.devices.cpu_threads:
        torch.set_num_threads(config.devices.cpu_threads)
    reporter.phase("tokenizing", "reading the rows")
    asked = config.questions
    questions = read_questions(workspace, asked.datasets, asked.max_samples) if asked.datasets else []
    candidates = find_candidates(config.candidates.base, config.candidates.runs, workspace, reporter.notice)
    for candidate in candidates:
        check_origin(candidate, config.model.path, config.candidates.merged, reporter.notice)
    base = workspace.root / config.model.path
    weights = {one.name: _weights_mark(one.folder or base) for one in candidates}
    if not begin(folder.path, config, _data_mark(questions), weights):
        reporter.notice("Answers of an earlier attempt do not hold under these settings any more and were put aside.")

    stop.armed = True
    with Course(folder, config, reporter, stop, questions, candidates) as course:
        if not _ask_all(course, config, candidates, workspace, reporter):
            reporter.phase("stopped", "resume it to go on at the row where it stopped")
            return STOPPED
    reporter.phase("scoring")
    score(folder.path, config, reporter.status.notices)
    reporter.phase("finished")
    return FINISHED


def _ask_all(
    course: Course, config: EvaluateConfig, candidates: Sequence[Candidate], workspace: Workspace, reporter: Reporter
) -> bool:
    """Everything that models are needed for; False when somebody asked to stop."""
    for seat in _seats(config, candidates, workspace, reporter):
        course.ask(seat)
        if config.benchmarks.tasks and course.go_on():
            _benchmark(config, seat, workspace, course)
        if not course.go_on():
            return False
    if config.judge.base_url is not None:
        from studio.tasks.evaluating.judge import judge

        reporter.phase("evaluating", f"{config.judge.model} judges")
        judge(config, [candidate.name for candidate in candidates], course.folder.path, reporter, course.go_on)
    return course.go_on()


def _seats(
    config: EvaluateConfig, candidates: Sequence[Candidate], workspace: Workspace, reporter: Reporter
) -> Iterator[Seat]:
    """The candidates one after another, ready to answer."""
    machine = detect(config.devices.use)
    dtype = inference_format(config.model.dtype, machine)
    arguments = model_arguments(config.model, dtype)
    if arguments["path"] == SHIPPED_MODEL and not workspace.resolve(SHIPPED_MODEL).exists():
        reporter.phase("fetching model")
        fetch(workspace)
    reporter.phase("loading model", arguments["path"])
    source = find_model(arguments["path"], workspace, arguments["hub"], arguments["revision"])
    merged = [adapter_folder(path, workspace) for path in config.candidates.merged]
    quantization = quantization_arguments(config.quantization, NUMBERS[dtype])
    return seats(candidates, source, merged, arguments, quantization, machine)


def _data_mark(questions: Sequence[Question]) -> str:
    """Short for all rows: other rows have another mark."""
    mark = hashlib.sha256()
    for question in questions:
        mark.update(repr((question.dataset, question.row, question.example.messages, question.example.text)).encode())
    return mark.hexdigest()[:16]


def _weights_mark(folder: Path) -> str:
    """Short for the weights in a folder, by the sizes and times of their files; "" for a model on a hub."""
    files = sorted(folder.glob("*.safetensors"))
    return ",".join(f"{file.name}:{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)


def _check_extras(config: EvaluateConfig) -> None:
    """Raise TaskError at once when a benchmark is asked for whose package is missing."""
    if config.benchmarks.tasks:
        importlib.import_module("studio.tasks.evaluating.benchmarks").check_package()


def _benchmark(config: EvaluateConfig, seat: Seat, workspace: Workspace, course: Course) -> None:
    """Nobody looks at requests in the midst of a benchmark, so a stop ends it at once."""
    from studio.tasks.evaluating.benchmarks import run_tasks

    if seat.front:
        course.reporter.notice(
            f"{seat.candidate.name} stands in front of the input, for which lm-eval has no place: its benchmarks are "
            "left out."
        )
        return
    course.reporter.phase("benchmark", f"{seat.candidate.name}: {', '.join(config.benchmarks.tasks)}")
    course.stop.armed = False
    run_tasks(config.benchmarks, seat, workspace, course.folder.path)
    course.stop.armed = True
