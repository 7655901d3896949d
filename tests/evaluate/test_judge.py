"""The judge: both orders, ties, what cannot be read, and an endpoint that is down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from studio.config.evaluate import EvaluateConfig
from studio.config.io import parse
from studio.runs.evaluation_results import JUDGEMENTS, PREDICTIONS, read_rows, results
from studio.runs.folder import RunFolder
from studio.tasks.evaluating import judge as task
from studio.tasks.evaluating.scoring import score
from studio.tasks.failures import TaskError
from studio.tasks.status import Reporter
from tests.evaluate.conftest import laid_over, prediction, write_lines
from tests.fake_endpoint import Asked, FakeEndpoint

ROWS = 6


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Answers of a base and a run; the run's answers hold the word good."""
    folder = RunFolder(tmp_path / "saves" / "e")
    folder.path.mkdir(parents=True)
    rows = [prediction(name, row, f"a {word} answer", "the reference") for row in range(1, ROWS + 1)
            for name, word in (("base", "poor"), ("saves/run", "good"))]  # fmt: skip
    write_lines(folder.path / PREDICTIONS, rows)
    return folder


def config(endpoint: FakeEndpoint, **judge: object) -> EvaluateConfig:
    tree = {
        "model": {"path": "models/tiny"},
        "questions": {"datasets": ["d"]},
        "candidates": {"runs": ["saves/run"]},
        "scores": {"resamples": 100, "names": ["rouge_1"]},
        "judge": {"base_url": endpoint.base_url, "model": "judge-1", "key_variable": "JUDGE_KEY", "concurrency": 2},
    }
    return parse(laid_over(tree, {"judge": judge}), EvaluateConfig)


def judged(folder: RunFolder, config: EvaluateConfig, go_on: Callable[[], bool] = lambda: True) -> None:
    task.judge(config, ["base", "saves/run"], folder.path, Reporter(folder), go_on)
    score(folder.path, config)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "k-123")


def honest(asked: Asked) -> str:
    first = asked.prompt.index("good answer") < asked.prompt.index("poor answer")
    return f"Better, in my view, is the good one.\nBetter: {'A' if first else 'B'}"


def test_the_better_one_wins_in_both_orders(folder: RunFolder) -> None:
    with FakeEndpoint(honest) as endpoint:
        judged(folder, config(endpoint))
        asked = endpoint.requests
    assert len(asked) == 2 * ROWS
    assert {one.body["model"] for one in asked} == {"judge-1"} and {one.key for one in asked} == {"Bearer k-123"}
    assert all("question" in one.prompt and "the reference" in one.prompt for one in asked)
    found = results(folder.path)
    assert found is not None
    (verdict,) = found.verdicts
    assert (verdict.first, verdict.second) == ("saves/run", "base")
    assert (verdict.wins, verdict.losses, verdict.ties, verdict.share, verdict.unread) == (ROWS, 0, 0, 100.0, 0)
    assert "k-123" not in "".join(file.read_text(encoding="utf-8") for file in folder.path.iterdir())


def test_a_judge_that_always_takes_the_first_decides_nothing(folder: RunFolder) -> None:
    with FakeEndpoint(lambda asked: "**Better: Answer A**") as endpoint:
        judged(folder, config(endpoint))
    found = results(folder.path)
    assert found is not None
    assert (found.verdicts[0].ties, found.verdicts[0].share) == (ROWS, 50.0)


def test_what_cannot_be_read_is_counted_and_left_out(folder: RunFolder) -> None:
    with FakeEndpoint(lambda asked: honest(asked) if "question 1\n" in asked.prompt else "Both are fine.") as endpoint:
        judged(folder, config(endpoint))
    found = results(folder.path)
    assert found is not None
    assert (found.verdicts[0].wins, found.verdicts[0].unread) == (1, ROWS - 1)


def test_judgements_are_not_asked_for_twice(folder: RunFolder) -> None:
    with FakeEndpoint(honest) as endpoint:
        judged(folder, config(endpoint, max_rows=2))
        judged(folder, config(endpoint))
        assert len(endpoint.requests) == 2 * ROWS and set(endpoint.prompts().values()) == {1}
        judged(folder, config(endpoint))
        assert len(endpoint.requests) == 2 * ROWS


def test_a_stop_is_heeded_between_two_questions(folder: RunFolder) -> None:
    with FakeEndpoint(honest) as endpoint:
        judged(folder, config(endpoint), lambda: len(endpoint.requests) < 3)
        assert len(endpoint.requests) < 2 * ROWS
    assert read_rows(folder.path / JUDGEMENTS)[0]


def test_an_endpoint_that_is_down_or_refuses_says_so(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "REPEATS", 0)
    with FakeEndpoint(lambda asked: "404") as endpoint, pytest.raises(TaskError, match=r"Check judge\.model"):
        judged(folder, config(endpoint))
    with pytest.raises(TaskError, match=r"cannot be asked.*cannot be reached"):
        judged(folder, config(endpoint))
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(TaskError, match=r"JUDGE_KEY is not set\..*judge\.key_variable"):
        judged(folder, config(endpoint))
    assert not (folder.path / JUDGEMENTS).exists()
