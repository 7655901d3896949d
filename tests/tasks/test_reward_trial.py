"""Trying rewards before the start: points of right and wrong answers, and what looks amiss, on page and terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.cli.main import main
from studio.config.workspace import Workspace
from studio.data.examples import Message
from studio.runs.inspector import Inspector
from studio.tasks.machine import Machine
from studio.tasks.prompts import Prompt
from studio.tasks.reward_trial import report_of, try_rewards
from studio.tasks.rewards.judging import load_judges

SUMS = [("1 + 1 = ?", "2"), ("2 + 3 = ?", "5"), ("Say yes.", None)]
OWN = "def seven(answers, rows):\n    return [7 for _ in answers]\ndef bad(answers, rows):\n    return 1 / 0\n"


class Words:
    """A tokenizer of words."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[str]]:
        return {"input_ids": text.split()}


def tried(folder: Path, *names: str, written: Any = (), **arguments: Any) -> dict[str, Any]:
    chosen = [{"name": name, "weight": 1.0, "arguments": arguments.get(name, {})} for name in names]
    prompts = [
        Prompt([1], (Message("user", question),), answer, f"row {place} of data/x.json")
        for place, (question, answer) in enumerate(SUMS, start=1)
    ]
    return report_of(
        try_rewards(load_judges(chosen, Workspace(folder), Machine("cpu", False)), prompts, Words(), written)
    )


def codes(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [(warning["code"], warning.get("label", "")) for warning in report["warnings"]]


def test_right_and_wrong_answers_are_told_apart(tmp_path: Path) -> None:
    report = tried(tmp_path, "exact_answer", "repetition")
    assert [(row["source"], row["answer"], row["total"]) for row in report["rows"]] == [
        ("own", "2", 1.0), ("own", "5", 1.0), ("other", "5", 0.0), ("other", "2", 0.0)]  # fmt: skip
    assert (report["rewards"][0]["own"], report["rewards"][0]["other"]) == (1.0, 0.0)
    assert codes(report) == []


def test_what_looks_amiss_is_said(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    report = tried(
        tmp_path, "own.py:seven", "own.py:bad", "regex", "script", "exact_answer",
        regex={"pattern": "zzz"}, exact_answer={"tolerance": 1.0},
    )  # fmt: skip
    assert codes(report) == [
        ("constant", "seven"), ("unreached", "regex"), ("silent", "script"), ("constant", "exact_answer")]  # fmt: skip
    assert "own.py, line 4" in next(reward["error"] for reward in report["rewards"] if reward["label"] == "bad")
    flat = tried(tmp_path, "exact_answer", written=[["9", "8"], ["1", "1"], ["a", "b"]])
    assert codes(flat) == [("flat", "")]
    assert codes(tried(tmp_path, "exact_answer", written=[["2", "8"], ["1", "1"], ["a", "b"]])) == []


@pytest.mark.slow
def test_the_terminal_and_the_helper_process_say_the_same(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    tree = {
        "model": {"path": "models/tiny"},
        "data": {"datasets": ["chat", "turns"]},
        "stage": {"type": "grpo", "rewards": ["exact_answer", "answer_length"]},
    }
    (workspace / "run.yaml").write_text(json.dumps(tree), encoding="utf-8")
    assert main(["rewards", "try", "run.yaml", "--rows", "4", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    inspector = Inspector(Workspace(workspace))
    try:
        assert inspector.ask("rewards.try", {"config": tree, "rows": 4}) == said
    finally:
        inspector.close()
    assert {row["where"].split(" of ")[1].split(" ")[0] for row in said["rows"]} == {
        "data/chat.json",
        "data/turns.json",
    }
    assert main(["rewards", "try", "run.yaml", "stage.reward_arguments={answer_length: {at_most: 1}}"]) == 0
    shown = capsys.readouterr()
    assert "exact_answer" in shown.out and "No row's own answer gets the full point of answer_length" in shown.err
    assert main(["rewards", "try", "run.yaml", "stage.type=sft", "stage.rewards=[]"]) == 2
    assert main(["rewards", "try", "run.yaml", "stage.rewards=[my.py:f]"]) == 2
    assert "no file my.py" in capsys.readouterr().err


def test_the_library_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rewards", "list"]) == 0
    shown = capsys.readouterr().out
    assert "exact_answer: " in shown and "def function(answers: list[str], rows: list[dict]" in shown
