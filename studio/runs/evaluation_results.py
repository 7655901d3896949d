"""What an evaluation left in its run folder, as typed values: answers row by row, scores, comparisons."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from studio.runs.atomic import read_json
from studio.runs.records import Fields

PREDICTIONS = "predictions.jsonl"
LOSSES = "losses.jsonl"
JUDGEMENTS = "judgements.jsonl"
BENCHMARKS = "benchmarks.jsonl"
ROW_SCORES = "row_scores.jsonl"
RESULTS = "results.json"

BASE = "base"
"""What the untuned model is called among the candidates."""

ALL = "*"
"""In the place of a dataset: all of them together."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Prediction:
    """One answer. `row` counts the dataset's rows from 1; `ended`: the model came to an end by itself; `seconds` is the
    row's share of the machine's time."""

    candidate: str
    dataset: str
    row: int
    prompt: str
    reference: str
    answer: str
    tokens: int = 0
    prompt_tokens: int = 0
    seconds: float = 0.0
    ended: bool = True
    place: str = ""


@dataclass(frozen=True)
class Score:
    """One score of one candidate with the ends of its 95 % interval; `dataset` may be ALL."""

    candidate: str
    dataset: str
    score: str
    value: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True)
class Comparison:
    """First minus second on the rows that both have. `beyond`: more than the choice of rows explains; then `better`
    names one of them, else it is empty."""

    first: str
    second: str
    dataset: str
    score: str
    difference: float
    low: float
    high: float
    beyond: bool
    better: str
    rows: int


@dataclass(frozen=True)
class Verdict:
    """What the judge said of a pair: rows won by the first, by the second, ties, and the first's share of wins (a tie
    counts half) in percent with its 95 % interval."""

    first: str
    second: str
    wins: int
    losses: int
    ties: int
    share: float
    low: float
    high: float
    unread: int


@dataclass(frozen=True)
class Results:
    """results.json. `higher` says of each score whether more is better; `speeds` of each candidate: rows, tokens,
    seconds; `benchmarks` of each candidate: task, metric, value, standard error."""

    candidates: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    higher: Mapping[str, bool] = field(default_factory=dict[str, bool])
    speeds: Mapping[str, Row] = field(default_factory=dict[str, Row])
    benchmarks: tuple[Row, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The scores in their order."""
        return tuple(self.higher)

    def score(self, candidate: str, dataset: str, name: str) -> Score | None:
        """One cell of the table."""
        wanted = (candidate, dataset, name)
        return next((entry for entry in self.scores if (entry.candidate, entry.dataset, entry.score) == wanted), None)

    def best(self, dataset: str, name: str) -> str:
        """The candidate with the best value, "" without any."""
        cells = [entry for entry in self.scores if (entry.dataset, entry.score) == (dataset, name)]
        sign = 1 if self.higher.get(name, True) else -1
        return max(cells, key=lambda entry: sign * entry.value).candidate if cells else ""


@dataclass(frozen=True)
class Side:
    """One candidate's answer to a row with its scores."""

    prediction: Prediction
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Together:
    """One row with the answers of all candidates, by their names."""

    dataset: str
    row: int
    prompt: str
    reference: str
    sides: Mapping[str, Side]


def read_rows(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The rows of a .jsonl file from byte `offset` on, and where to go on reading. A half-written last line waits; what
    is no JSON object is left out; an absent file has no rows."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            chunk = file.read()
    except FileNotFoundError:
        return [], 0
    end = chunk.rfind(b"\n") + 1
    return list(_objects(chunk[:end].splitlines())), offset + end


def _objects(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            value: object = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield cast("dict[str, Any]", value)


def predictions(folder: Path, offset: int = 0) -> tuple[list[Prediction], int]:
    """Answers from byte `offset` of predictions.jsonl on, and where to go on reading: for a page that looks on."""
    rows, offset = read_rows(folder / PREDICTIONS, offset)
    return [_prediction(row) for row in rows], offset


def _prediction(row: Row) -> Prediction:
    fields = Fields(row)
    return Prediction(
        candidate=fields.text("candidate"),
        dataset=fields.text("dataset"),
        row=fields.whole("row"),
        prompt=fields.text("prompt"),
        reference=fields.text("reference"),
        answer=fields.text("answer"),
        tokens=fields.whole("tokens"),
        prompt_tokens=fields.whole("prompt_tokens"),
        seconds=fields.number("seconds") or 0.0,
        ended=fields.flag("ended"),
        place=fields.text("place"),
    )


def results(folder: Path) -> Results | None:
    """The scores of a finished evaluation; None while there are none, or when the file is damaged."""
    found = read_json(folder / RESULTS)
    if not isinstance(found, dict):
        return None
    tree = cast("dict[str, object]", found)
    fields = Fields(tree)
    return Results(
        candidates=fields.texts("candidates"),
        datasets=fields.texts("datasets"),
        scores=tuple(_score(Fields(row)) for row in _objects_at(tree, "scores")),
        comparisons=tuple(_comparison(Fields(row)) for row in _objects_at(tree, "comparisons")),
        verdicts=tuple(_verdict(Fields(row)) for row in _objects_at(tree, "verdicts")),
        higher={key: value is True for key, value in fields.mapping("higher").items()},
        speeds={key: Fields(fields.mapping("speeds")).mapping(key) for key in fields.mapping("speeds")},
        benchmarks=_objects_at(tree, "benchmarks"),
        notices=fields.texts("notices"),
    )


def _objects_at(tree: Mapping[str, object], key: str) -> tuple[Row, ...]:
    value = tree.get(key)
    entries = cast("list[object]", value) if isinstance(value, list) else []
    return tuple(cast("Row", entry) for entry in entries if isinstance(entry, dict))


def _number(fields: Fields, key: str) -> float:
    value = fields.number(key)
    return float("nan") if value is None else value


def _score(fields: Fields) -> Score:
    return Score(
        candidate=fields.text("candidate"),
        dataset=fields.text("dataset"),
        score=fields.text("score"),
        value=_number(fields, "value"),
        low=_number(fields, "low"),
        high=_number(fields, "high"),
        rows=fields.whole("rows"),
    )


def _comparison(fields: Fields) -> Comparison:
    return Comparison(
        first=fields.text("first"),
        second=fields.text("second"),
        dataset=fields.text("dataset"),
        score=fields.text("score"),
        difference=_number(fields, "difference"),
        low=_number(fields, "low"),
        high=_number(fields, "high"),
        beyond=fields.flag("beyond"),
        better=fields.text("better"),
        rows=fields.whole("rows"),
    )


def _verdict(fields: Fields) -> Verdict:
    return Verdict(
        first=fields.text("first"),
        second=fields.text("second"),
        wins=fields.whole("wins"),
        losses=fields.whole("losses"),
        ties=fields.whole("ties"),
        share=_number(fields, "share"),
        low=_number(fields, "low"),
        high=_number(fields, "high"),
        unread=fields.whole("unread"),
    )


def row_scores(folder: Path) -> dict[tuple[str, str, int], dict[str, float]]:
    """The scores of each row by candidate, dataset and row."""
    found: dict[tuple[str, str, int], dict[str, float]] = {}
    for row in read_rows(folder / ROW_SCORES)[0]:
        fields = Fields(row)
        numbers = {
            key: float(value) for key, value in fields.mapping("scores").items() if isinstance(value, int | float)
        }
        found[fields.text("candidate"), fields.text("dataset"), fields.whole("row")] = numbers
    return found


def side_by_side(
    folder: Path,
    dataset: str = ALL,
    *,
    by: str = "",
    candidate: str = "",
    order: Literal["row", "worst", "best"] = "row",
    start: int = 0,
    count: int | None = None,
) -> list[Together]:
    """Rows with all answers, `count` of them from `start` on: in their order, or those first on which `candidate` (else
    the first one) does worst or best by the score `by`."""
    scores, sides = row_scores(folder), dict[tuple[str, int], dict[str, Side]]()
    for answer in predictions(folder)[0]:
        if dataset in (ALL, answer.dataset):
            own = scores.get((answer.candidate, answer.dataset, answer.row), {})
            sides.setdefault((answer.dataset, answer.row), {})[answer.candidate] = Side(answer, own)
    rows = [_together(key, value) for key, value in sides.items()]
    if order != "row" and by:
        rows = _by_score(rows, by, candidate, best=(order == "best") == _more_is_better(folder, by))
    else:
        rows.sort(key=lambda row: (row.dataset, row.row))
    return rows[start : None if count is None else start + count]


def _together(key: tuple[str, int], sides: Mapping[str, Side]) -> Together:
    first = next(iter(sides.values())).prediction
    return Together(*key, first.prompt, first.reference, sides)


def _by_score(rows: list[Together], by: str, candidate: str, *, best: bool) -> list[Together]:
    def value(row: Together) -> float:
        side = row.sides.get(candidate) or next(iter(row.sides.values()))
        return side.scores.get(by, float("-inf") if best else float("inf"))

    return sorted(rows, key=value, reverse=best)


def _more_is_better(folder: Path, name: str) -> bool:
    found = results(folder)
    return found is None or found.higher.get(name, True)


_PIECE = re.compile(r"\s+|[^\W\u3040-\u30ff\u3400-\u9fff]+|.", re.DOTALL)


def marked(reference: str, answer: str) -> list[tuple[str, Literal["same", "added", "missing"]]]:
    """The answer word by word with what it has beyond the reference (added) and what it lacks (missing)."""
    want, have = _PIECE.findall(reference), _PIECE.findall(answer)
    parts: list[tuple[str, Literal["same", "added", "missing"]]] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, want, have, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(("".join(have[c:d]), "same"))
            continue
        if b > a:
            parts.append(("".join(want[a:b]), "missing"))
        if d > c:
            parts.append(("".join(have[c:d]), "added"))
    return parts


def scores_csv(found: Results) -> str:
    """Every score with its interval as a table with a head, for spreadsheets."""
    head = ("candidate", "dataset", "score", "value", "low", "high", "rows")
    return _csv(head, ([getattr(entry, name) for name in head] for entry in found.scores))


def rows_csv(folder: Path) -> str:
    """Every answer with its scores as a table with a head."""
    scores = row_scores(folder)
    names = list(dict.fromkeys(name for values in scores.values() for name in values))
    head = ("candidate", "dataset", "row", "prompt", "reference", "answer", "tokens", "seconds", "ended")
    lines: list[Sequence[object]] = []
    for answer in predictions(folder)[0]:
        own = scores.get((answer.candidate, answer.dataset, answer.row), {})
        lines.append([*(getattr(answer, name) for name in head), *(own.get(name, "") for name in names)])
    return _csv((*head, *names), lines)


def _csv(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(head)
    writer.writerows([_safe(cell) for cell in line] for line in lines)
    return out.getvalue()


def _safe(cell: object) -> object:
    """A text that a spreadsheet would take for a formula gets a quote in front."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
