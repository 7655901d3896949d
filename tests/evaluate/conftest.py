"""Evaluations inside the test's own process, and adapters for the tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from studio.config.evaluate import EvaluateConfig
from studio.config.io import dump, parse
from studio.runs.evaluation_results import Prediction, Results, predictions, results
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag

TINY = {
    "model": {"path": "models/tiny", "dtype": "float32"},
    "questions": {"datasets": ["chat"]},
    "decoding": {"max_new_tokens": 8},
    "scores": {"resamples": 100},
    "devices": {"use": "cpu", "cpu_threads": 1},
}


@dataclass(frozen=True)
class Outcome:
    """What an evaluation left behind."""

    code: int
    folder: RunFolder

    @property
    def answers(self) -> list[Prediction]:
        """Every answer in the order of the file."""
        return predictions(self.folder.path)[0]

    @property
    def results(self) -> Results:
        """The scores."""
        found = results(self.folder.path)
        assert found is not None
        return found

    @property
    def notices(self) -> str:
        """All notices as one text."""
        return "\n".join(self.folder.status().notices)

    def by_row(self, candidate: str) -> dict[int, str]:
        """One candidate's answers by their rows."""
        return {answer.row: answer.answer for answer in self.answers if answer.candidate == candidate}


def laid_over(*trees: dict[str, Any]) -> dict[str, Any]:
    """Mappings laid over each other, section by section."""
    result: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            result[key] = {**result.get(key, {}), **value} if isinstance(value, dict) else value
    return result


def write_run(folder: RunFolder, *changes: dict[str, Any]) -> EvaluateConfig:
    """Put config.yaml and job.json into the run's folder, as submitting does."""
    folder.path.mkdir(parents=True, exist_ok=True)
    config = parse(laid_over(TINY, *changes), EvaluateConfig)
    folder.write_config(dump(config))
    folder.write_job(JobSpec(name=folder.name, kind="evaluate"))
    return config


@pytest.fixture
def evaluate(workspace: Path) -> Callable[..., Outcome]:
    """A function (name, *changes, reporter=Reporter) that evaluates the tiny model in this process."""

    def call(name: str, *changes: dict[str, Any], reporter: type[Reporter] = Reporter) -> Outcome:
        from studio.tasks import evaluate as task

        folder = RunFolder(workspace / "saves" / name)
        config = write_run(folder, *changes)
        return Outcome(task.run(folder, folder.job(), config, reporter(folder), StopFlag()), folder)

    return call


@pytest.fixture
def adapter(workspace: Path) -> Callable[..., str]:
    """A function (name, seed, **config) that puts a random LoRA adapter for the tiny model under saves/."""

    def call(name: str, seed: int = 1, model: Any = None, **config: Any) -> str:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        base = model or AutoModelForCausalLM.from_pretrained(workspace / "models" / "tiny")
        torch.manual_seed(seed)
        lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM", **config)
        get_peft_model(base, lora).save_pretrained(workspace / "saves" / name)
        return f"saves/{name}"

    return call


def prediction(candidate: str, row: int, answer: str, reference: str, dataset: str = "d") -> dict[str, Any]:
    """A line of predictions.jsonl."""
    place = {"candidate": candidate, "dataset": dataset, "row": row}
    return {**place, "prompt": f"question {row}", "reference": reference, "answer": answer, "ended": True}


def write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    """A .jsonl file of these rows."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
