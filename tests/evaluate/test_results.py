"""Results of saved answers: scored anew without torch, read by a page, written as csv and as one page of HTML."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from studio.config.evaluate import EvaluateConfig
from studio.config.io import dump, parse
from studio.runs.evaluation_report import report
from studio.runs.evaluation_results import (
    LOSSES,
    PREDICTIONS,
    marked,
    predictions,
    read_rows,
    results,
    rows_csv,
    scores_csv,
    side_by_side,
)
from studio.tasks.evaluating.scoring import score
from tests.evaluate.conftest import prediction, write_lines

BAD, GOOD = "base", "saves/run"
NASTY = '<script>alert("x")</script> & =1+1'


def config(**scores: Any) -> EvaluateConfig:
    tree = {
        "model": {"path": "models/tiny"},
        "questions": {"datasets": ["d", "e"]},
        "scores": {"resamples": 200, **scores},
    }
    return parse(tree, EvaluateConfig)


def said(name: str, row: int, dataset: str) -> str:
    return f"row {row} of {dataset}" if name == GOOD or row == 1 else NASTY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An evaluation of two candidates on two datasets, of which one is clearly better."""
    folder = tmp_path / "saves" / "e"
    folder.mkdir(parents=True)
    rows = [
        prediction(name, row, said(name, row, dataset), f"row {row} of {dataset}", dataset)
        for name in (BAD, GOOD)
        for dataset in ("d", "e")
        for row in range(1, 9)
    ]
    rows[0]["prompt"] = NASTY
    write_lines(folder / PREDICTIONS, rows)
    write_lines(
        folder / LOSSES,
        [
            {"candidate": name, "dataset": "d", "row": row, "loss": loss * row, "tokens": row}
            for name, loss in ((BAD, 3.0), (GOOD, 1.0))
            for row in range(1, 9)
        ],
    )
    (folder / "config.yaml").write_text(dump(config()), encoding="utf-8")
    return folder


def test_scores_have_intervals_and_comparisons_say_who_is_better(folder: Path) -> None:
    score(folder, config(), ["a notice"])
    found = results(folder)
    assert found is not None and found.notices == ("a notice",)
    assert (found.candidates, found.datasets) == ((BAD, GOOD), ("d", "e"))
    best = found.score(GOOD, "*", "exact_match")
    assert best is not None and (best.value, best.low, best.high, best.rows) == (100, 100, 100, 16)
    assert found.best("d", "loss") == found.best("*", "rouge_l") == GOOD
    perplexity = found.score(BAD, "d", "perplexity")
    assert perplexity is not None and perplexity.value == pytest.approx(math.e**3)
    compared = {(one.dataset, one.score): one for one in found.comparisons}
    assert compared["e", "chrf"].beyond and compared["e", "chrf"].better == GOOD
    assert compared["d", "loss"].difference == pytest.approx(-2) and compared["d", "loss"].better == GOOD
    assert found.higher["loss"] is False and found.higher["bleu"] is True


def test_a_score_that_is_infinite_is_written_as_no_number(folder: Path) -> None:
    write_lines(folder / LOSSES, [{"candidate": BAD, "dataset": "d", "row": 1, "loss": 5000.0, "tokens": 1}])
    score(folder, config())
    text = (folder / "results.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    found = results(folder)
    assert found is not None
    cell = found.score(BAD, "d", "perplexity")
    assert cell is not None and math.isnan(cell.value)
    assert "<h1>e</h1>" in report(folder, "e")


def test_rows_can_be_looked_at_from_the_worst_to_the_best(folder: Path) -> None:
    score(folder, config())
    assert [(row.dataset, row.row) for row in side_by_side(folder, count=3, start=7)] == [("d", 8), ("e", 1), ("e", 2)]
    worst = side_by_side(folder, "d", by="chrf", candidate=BAD, order="worst")
    assert worst[-1].row == 1 and worst[0].sides[BAD].scores["chrf"] < 50
    assert side_by_side(folder, "d", by="loss", candidate=GOOD, order="worst")[0].sides[GOOD].scores["loss"] == 1
    assert set(worst[0].sides) == {BAD, GOOD}


def test_a_page_reads_on_where_it_stopped_and_waits_for_half_a_line(folder: Path) -> None:
    file = folder / PREDICTIONS
    found, offset = predictions(folder)
    assert len(found) == 32
    line = json.dumps(prediction("late", 1, "a", "b"))
    with file.open("a", encoding="utf-8") as stream:
        stream.write(line[:20])
    assert predictions(folder, offset) == ([], offset)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(line[20:] + "\nno json\n[1]\n")
    found, offset = predictions(folder, offset)
    assert [one.candidate for one in found] == ["late"] and offset == file.stat().st_size
    assert read_rows(folder / "none.jsonl") == ([], 0)


def test_differences_are_marked_word_by_word() -> None:
    assert marked("the red boat", "the blue boat sails") == [
        ("the ", "same"), ("red", "missing"), ("blue", "added"), (" boat", "same"), (" sails", "added"),
    ]  # fmt: skip
    assert marked("好天气", "好空气") == [("好", "same"), ("天", "missing"), ("空", "added"), ("气", "same")]


def test_damaged_results_read_as_none(folder: Path) -> None:
    assert results(folder) is None
    (folder / "results.json").write_text('{"scores": [', encoding="utf-8")
    assert results(folder) is None
    (folder / "results.json").write_text('{"scores": [1, {"score": 3}], "higher": []}', encoding="utf-8")
    found = results(folder)
    assert found is not None and math.isnan(found.scores[0].value)


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_report_is_one_safe_page_with_everything_in_it(folder: Path) -> None:
    write_lines(
        folder / "judgements.jsonl",
        [
            {"first": GOOD, "second": BAD, "dataset": "d", "row": row, "turned": turned, "winner": "first", "text": ""}
            for row in range(1, 5)
            for turned in (False, True)
        ],
    )
    write_lines(
        folder / "benchmarks.jsonl",
        [{"candidate": BAD, "task": "arc", "metric": "acc", "value": 0.25, "error": None, "rows": 4}],
    )
    score(folder, config())
    text = report(folder, "e")
    page = Page(text)
    assert "script" not in page.tags and NASTY in page.texts
    assert not re.search(r"https?://|src=|@import|url\(", text), "nothing is loaded from elsewhere"
    assert page.tags.count("svg") == 3 * 6 + 2 * 2  # three sets with six scores; loss and perplexity on two of them
    assert page.tags.count("circle") == 2 * page.tags.count("svg")
    assert any("saves/run is better" in part for part in page.texts)
    assert "Judge" in page.texts and "100.0 %" in page.texts and "Benchmarks" in page.texts
    assert {"ins", "del"} <= set(page.tags)
    with pytest.raises(FileNotFoundError, match="not come to its end"):
        report(folder.parent, "none")


def test_tables_for_spreadsheets_hold_no_formulas(folder: Path) -> None:
    rows = [prediction(BAD, 1, "=1+1", "-2", "d")]
    write_lines(folder / PREDICTIONS, rows)
    score(folder, config())
    lines = list(csv.DictReader(io.StringIO(rows_csv(folder))))
    assert lines[0]["answer"] == "'=1+1" and lines[0]["reference"] == "'-2" and float(lines[0]["chrf"]) >= 0
    found = results(folder)
    assert found is not None
    table = list(csv.DictReader(io.StringIO(scores_csv(found))))
    assert {line["score"] for line in table} == set(found.names)


def studio(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process where torch cannot be imported."""
    code = "import sys; sys.modules['torch'] = None; from studio.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=folder.parent.parent, capture_output=True, text=True, timeout=60, check=False)


def test_saved_answers_are_scored_anew_and_reported_without_torch(folder: Path) -> None:
    found = studio(folder, "evaluate", "--rescore", "e", "scores.names=[exact_match]", "--report", "saves/e")
    assert found.returncode == 0, found.stderr
    assert "exact_match" in found.stdout and "rouge" not in found.stdout and "100*" in found.stdout
    assert {file.name for file in folder.iterdir()} >= {"results.json", "report.html", "rows.csv", "scores.csv"}
    assert "has saved anything" in studio(folder, "evaluate", "--report", "none").stderr
    assert "scores.names" in studio(folder, "evaluate", "--rescore", "e", "scores.names=[rogue]").stderr
