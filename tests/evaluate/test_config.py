"""What an evaluation may be asked for, and what is said about the rest."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from studio.config.evaluate import EvaluateConfig
from studio.config.io import check, command_of, load_config, override, parse, read_yaml
from studio.config.naming import name_for
from tests.evaluate.conftest import laid_over

WHOLE = {"model": {"path": "models/x"}, "questions": {"datasets": ["d"]}}


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"candidates": {"base": False}}, "candidates.runs", "Choose who is evaluated"),
        ({"questions": {"datasets": []}}, "questions.datasets", "at least one dataset"),
        ({"decoding": {"generate": False}, "scores": {"loss": False}}, "scores.loss", "Neither answers nor a loss"),
        ({"scores": {"names": ["regex"]}}, "scores.pattern", "needs a regular expression"),
        ({"scores": {"pattern": "(a"}}, "scores.pattern", "is no regular expression"),
        ({"judge": {"base_url": "http://j/v1"}, "candidates": {"runs": ["saves/a"]}}, "judge.model", "Name the model"),
        ({"judge": {"base_url": "http://j/v1", "model": "m"}}, "judge.base_url", "answers of two models"),
        ({"decoding": {"temperature": 0.2}}, "decoding.temperature", "does nothing while"),
        ({"scores": {"names": ["rogue"]}}, "scores.names[0]", "rogue"),
        ({"judge": {"base_url": "http://me:pw@j/v1"}}, "judge.base_url", "not allowed"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(changes: dict[str, Any], path: str, words: str) -> None:
    _, faults = check(laid_over(WHOLE, changes), EvaluateConfig)
    assert any(fault.path.startswith(path.partition("[")[0]) and words in fault.sentence() for fault in faults), faults


def test_a_config_and_its_command_mean_the_same() -> None:
    tree = laid_over(WHOLE, {"candidates": {"runs": ["saves/a"]}, "judge": {"base_url": "http://j/v1", "model": "m"}})
    config = parse(tree, EvaluateConfig)
    words = command_of(config)
    assert words[:2] == ["studio", "evaluate"]
    assert parse(override({}, words[2:]), EvaluateConfig) == config


def test_an_evaluation_is_named_after_its_run() -> None:
    config = parse(laid_over(WHOLE, {"candidates": {"runs": ["saves/mine/checkpoint-3"]}}), EvaluateConfig)
    assert name_for(config, datetime(2026, 1, 2, 3, 4, 5)) == "eval-mine-checkpoint-3-0102-030405"


@pytest.mark.parametrize("file", sorted(Path("configs").glob("evaluate*.yaml")), ids=lambda file: file.name)
def test_the_examples_are_sound(file: Path) -> None:
    assert load_config(file, schema=EvaluateConfig).questions.datasets
    assert read_yaml(file.read_text(encoding="utf-8"))
