"""Answers with their points reach the page in pieces: the newest first, what is new behind them, nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.config.io import parse
from studio.config.train import TrainConfig
from studio.web import run_answers
from studio.web.run_answers import newest
from studio.web.run_detail import _worth_saying  # pyright: ignore[reportPrivateUsage]
from studio.web.run_doctor import remedy_of


def lines(*steps: int) -> str:
    return "".join(json.dumps({"step": step, "answer": "words " * 10}) + "\n" for step in steps)


def steps_of(piece: dict[str, Any] | None) -> list[int]:
    return [row["step"] for row in (piece or {})["rows"]]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_answers, "PIECE_BYTES", 300)


def test_a_long_file_is_read_backwards_piece_by_piece(tmp_path: Path) -> None:
    file = tmp_path / "completions.jsonl"
    assert newest(file, {}) is None
    file.write_text(lines(*range(1, 21)))
    piece, seen = newest(file, {}), list[int]()
    assert piece is not None and piece["anew"] and piece["to"] == file.stat().st_size
    while True:
        seen = steps_of(piece) + seen
        if not piece["from"]:
            break
        piece = newest(file, {"file": piece["file"], "from": piece["from"], "to": file.stat().st_size, "earlier": True})
        assert piece is not None and not piece["anew"]
    assert seen == list(range(1, 21))


def test_what_comes_is_read_when_it_is_whole_and_another_file_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "completions.jsonl"
    file.write_text(lines(1) + '{"step": 2, "ans')
    piece = newest(file, {})
    assert piece is not None and steps_of(piece) == [1]
    has = {key: piece[key] for key in ("file", "from", "to")}
    assert newest(file, has) is None
    file.write_text(lines(1, 2) + "nonsense\n" + lines(3))
    piece = newest(file, has)
    assert piece is not None and steps_of(piece) == [2, 3] and not piece["anew"]
    other = tmp_path / "other"
    other.write_text(lines(1))
    other.replace(file)
    piece = newest(file, {**has, "to": has["to"]})
    assert piece is not None and steps_of(piece) == [1] and piece["anew"]


def test_a_remedy_says_what_was_and_what_shall_be_as_the_form_spells_it() -> None:
    tree = {"model": {"path": "x"}, "data": {"datasets": ["a"]}, "optimisation": {"learning_rate": 2e-4}}
    config = parse(tree)
    assert isinstance(config, TrainConfig)
    changes = {"optimisation.learning_rate": 6.7e-5, "quantization.type": "4bit"}
    assert remedy_of("en", config, changes) == {
        "text": "Learning rate 2e-4 → 6.7e-5, Quantization None → 4-bit",
        "values": {"optimisation.learning_rate": "6.7e-5", "quantization.type": "4bit"},
    }
    assert remedy_of("en", config, {}) is None


def test_a_number_that_is_not_finite_is_said_once() -> None:
    events = [{"event": "non_finite", "step": step, "key": key} for step in (8, 9) for key in ("loss", "kl")]
    events.append({"event": "resumed", "step": 5})
    found = _worth_saying(events, [{"code": "not_finite", "chart": "loss"}])
    assert [(event["event"], event["step"]) for event in found] == [("non_finite", 8), ("resumed", 5)]
