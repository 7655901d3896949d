"""The rows of an evaluation for the page: found, put in order, page by page; and one row with all its answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from studio.runs.evaluation_results import ALL, Prediction
from studio.web.evaluate_cache import Answers, Place, Row
from studio.web.evaluate_marks import marks

Request = Mapping[str, Any]
Reply = dict[str, Any]

PAGE = 20
MOST = 100
SHORT = 220  # letters of a text in the list


@dataclass(frozen=True)
class Query:
    """Which rows, in which order. `by` is a score; `of` a candidate or "" for all; `order`: row, worst, best, apart."""

    dataset: str = ALL
    text: str = ""
    by: str = ""
    of: str = ""
    order: str = "row"
    start: int = 0
    count: int = PAGE
    higher: bool = True

    @classmethod
    def read(cls, request: Request, higher: Mapping[str, bool]) -> Query:
        """From what the page says; `higher`: whether more is better, by score. The first score serves where none is."""
        by = str(request.get("by") or next(iter(higher), ""))
        return cls(
            dataset=str(request.get("dataset") or ALL),
            text=str(request.get("text") or "").strip().casefold(),
            by=by,
            of=str(request.get("of") or ""),
            order=str(request.get("order") or "row"),
            start=max(0, _whole(request.get("start"), 0)),
            count=min(MOST, max(1, _whole(request.get("count"), PAGE))),
            higher=higher.get(by, True),
        )


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def place_of(request: Request) -> Place:
    """The row that the page means: `row` of the dataset `row_of`, which is told apart from the list's own filter."""
    return str(request.get("row_of") or ""), _whole(request.get("row"), 0)


def found(answers: Answers, query: Query) -> list[Row]:
    """The rows that the query means, in its order; those without the score that orders them come last."""
    with answers.lock:
        rows = [row for row in answers.rows.values() if _meant(row, query)]
    rows.sort(key=lambda row: row.place)
    figure = _FIGURES.get(query.order)
    if figure is not None:
        values = {row.place: figure(_values(answers, row, query), query) for row in rows}
        rows.sort(key=lambda row: values[row.place])
    return rows


def _meant(row: Row, query: Query) -> bool:
    if query.dataset not in (ALL, row.place[0]):
        return False
    texts = (row.prompt, row.reference, *(one.answer for one in row.answers.values()))
    return not query.text or any(query.text in text.casefold() for text in texts)


def _values(answers: Answers, row: Row, query: Query) -> list[float]:
    """The figures of the score that orders: of all candidates, or of one alone unless they are held apart."""
    every = {name: answers.scores(name, row.place).get(query.by) for name in row.answers}
    alone = query.of and query.order != "apart"
    return [value for name, value in every.items() if value is not None and (not alone or name == query.of)]


def _worst(values: Sequence[float], query: Query) -> float:
    return math.inf if not values else fmean(values) * (1 if query.higher else -1)


def _best(values: Sequence[float], query: Query) -> float:
    return math.inf if not values else -fmean(values) * (1 if query.higher else -1)


def _apart(values: Sequence[float], _query: Query) -> float:
    return math.inf if len(values) < 2 else min(values) - max(values)


_FIGURES: Mapping[str, Callable[[Sequence[float], Query], float]] = {"worst": _worst, "best": _best, "apart": _apart}


def page(answers: Answers, query: Query) -> Reply:
    """A page of rows in short, with how many there are."""
    rows = found(answers, query)
    start = min(query.start, max(0, (len(rows) - 1) // query.count * query.count))
    return {
        "version": answers.version,
        "total": len(answers.rows),
        "found": len(rows),
        "start": start,
        "by": query.by,
        "candidates": answers.candidates,
        "rows": [_in_short(answers, row, query) for row in rows[start : start + query.count]],
    }


def _in_short(answers: Answers, row: Row, query: Query) -> Reply:
    return {
        "dataset": row.place[0],
        "row": row.place[1],
        "prompt": row.prompt[:SHORT],
        "values": {name: answers.scores(name, row.place).get(query.by) for name in row.answers},
    }


def one(answers: Answers, query: Query, place: Place) -> Reply | None:
    """A row with its answers and marks, and its neighbours in the order of the query; None when there is none."""
    row = answers.rows.get(place)
    if row is None:
        return None
    places = [other.place for other in found(answers, query)]
    at = places.index(place) if place in places else None
    return {
        "version": answers.version,
        "dataset": row.place[0],
        "row": row.place[1],
        "where": row.where,
        "prompt": row.prompt,
        "reference": row.reference,
        "answers": [_answer(answers, row, one) for one in row.answers.values()],
        "at": at,
        "found": len(places),
        "previous": places[at - 1] if at else None,
        "next": places[at + 1] if at is not None and at + 1 < len(places) else None,
    }


def _answer(answers: Answers, row: Row, one: Prediction) -> Reply:
    return {
        "candidate": one.candidate,
        "answer": one.answer,
        "marks": marks(row.reference, one.answer),
        "tokens": one.tokens,
        "seconds": one.seconds,
        "ended": one.ended,
        "scores": dict(answers.scores(one.candidate, row.place)),
    }
