"""From saved answers to results.json: scores with intervals, comparisons, and the scores of each row. No torch here."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.config.evaluate import SCORE_NAMES, EvaluateConfig, ScoresConfig
from studio.runs.atomic import write_json, write_text
from studio.runs.evaluation_results import (
    ALL,
    BENCHMARKS,
    JUDGEMENTS,
    LOSSES,
    RESULTS,
    ROW_SCORES,
    Comparison,
    Prediction,
    Score,
    Verdict,
    predictions,
    read_rows,
)
from studio.tasks.scores import corpus, llamafactory, shape, words
from studio.tasks.scores.bootstrap import Tally, compare, estimate, mean_of, ratio

if TYPE_CHECKING:
    from studio.tasks.scores.bootstrap import Numbers

LOWER_IS_BETTER = frozenset({"loss", "perplexity"})

Place = tuple[str, int]
Finish = Callable[["Numbers"], "Numbers"]
Counts = dict[Place, list[float]]


@dataclass(frozen=True)
class Measure:
    """One score of one candidate: the counts of each row, and what makes a number of added counts."""

    counts: Counts
    finish: Finish
    _tallies: dict[tuple[Place, ...], Tally] = field(default_factory=dict[tuple[Place, ...], Tally], compare=False)

    def tally(self, places: Sequence[Place]) -> Tally:
        """The tally of some rows; the same one each time, so that what was drawn for a score serves a comparison."""
        key = tuple(places)
        if key not in self._tallies:
            self._tallies[key] = self._made(places)
        return self._tallies[key]

    def _made(self, places: Sequence[Place]) -> Tally:
        return Tally(np.array([self.counts[place] for place in places], dtype=np.float64), self.finish)


Measures = dict[str, dict[str, Measure]]
"""By candidate, then by score."""


def score(folder: Path, config: EvaluateConfig, notices: Sequence[str] = ()) -> None:
    """Score what is saved in `folder`, and write row_scores.jsonl and results.json. Raises OSError."""
    wanted = set(config.questions.datasets)
    answers = [answer for answer in predictions(folder)[0] if answer.dataset in wanted]
    measures = measure(answers, read_rows(folder / LOSSES)[0], config.scores)
    datasets = sorted({place[0] for own in measures.values() for one in own.values() for place in one.counts})
    _write_row_scores(folder, measures)
    names = [name for name in (*SCORE_NAMES, "loss", "perplexity") if any(name in own for own in measures.values())]
    order = {answer.candidate: None for answer in answers} | dict.fromkeys(measures)
    draws = config.scores.resamples
    tree = {
        "version": 1,
        "candidates": list(order),
        "datasets": datasets,
        "higher": {name: name not in LOWER_IS_BETTER for name in names},
        "scores": [asdict(entry) for entry in _scores(measures, datasets, names, draws)],
        "comparisons": [asdict(entry) for entry in _comparisons(measures, datasets, names, draws)],
        "speeds": _speeds(answers),
        "verdicts": [asdict(entry) for entry in _verdicts(read_rows(folder / JUDGEMENTS)[0], draws)],
        "benchmarks": read_rows(folder / BENCHMARKS)[0],
        "notices": list(notices),
    }
    write_json(folder / RESULTS, _finite(tree))


def measure(answers: Iterable[Prediction], losses: Iterable[Mapping[str, Any]], config: ScoresConfig) -> Measures:
    """The counts of every score of every row."""
    found: Measures = defaultdict(dict)
    by_candidate: dict[str, list[Prediction]] = defaultdict(list)
    for answer in answers:
        by_candidate[answer.candidate].append(answer)
    chinese = words.mostly_unspaced([answer.reference for own in by_candidate.values() for answer in own])
    for candidate, own in by_candidate.items():
        for name in dict.fromkeys(config.names):
            found[candidate][name] = _of_answers(name, own, config.pattern, chinese)
    totals: dict[str, Counts] = defaultdict(dict)
    for row in losses:
        totals[row["candidate"]][row["dataset"], row["row"]] = [row["loss"], row["tokens"]]
    for candidate, counts in totals.items() if config.loss else ():
        found[candidate] |= {"loss": Measure(counts, ratio), "perplexity": Measure(counts, _perplexity)}
    return dict(found)


def _perplexity(sums: Numbers) -> Numbers:
    """exp of the loss a token; a loss beyond what a number can hold is infinite."""
    with np.errstate(over="ignore"):
        return np.exp(ratio(sums))


def _of_answers(name: str, answers: Sequence[Prediction], pattern: str | None, chinese: bool) -> Measure:
    if name == "bleu":
        counter = corpus.bleu_counter(chinese)
        return _measure(answers, lambda a, b: corpus.bleu_counts(a, b, counter), corpus.bleu)
    if name == "chrf":
        return _measure(answers, corpus.chrf_counts, corpus.chrf)
    one = _value_of(name, pattern)
    return _measure(answers, lambda a, b: [one(a, b), 1.0], ratio)


def _measure(answers: Sequence[Prediction], count: Callable[[str, str], list[float]], finish: Finish) -> Measure:
    return Measure({(one.dataset, one.row): count(one.answer, one.reference) for one in answers}, finish)


def _value_of(name: str, pattern: str | None) -> Callable[[str, str], float]:
    """The score of one answer against its reference, in percent."""
    if name == "regex":
        compiled = re.compile(pattern or "")
        return lambda answer, reference: shape.regex(answer, reference, compiled)
    return _VALUES[name]


_VALUES: Mapping[str, Callable[[str, str], float]] = {
    "rouge_1": lambda a, b: words.rouge_n(words.words(a), words.words(b), 1),
    "rouge_2": lambda a, b: words.rouge_n(words.words(a), words.words(b), 2),
    "rouge_l": lambda a, b: words.rouge_l(words.words(a), words.words(b)),
    "exact_match": words.exact_match,
    "token_f1": words.token_f1,
    "json_valid": lambda a, _: shape.json_valid(a),
    "llamafactory_rouge_1": lambda a, b: llamafactory.rouge(a, b)["rouge-1"],
    "llamafactory_rouge_2": lambda a, b: llamafactory.rouge(a, b)["rouge-2"],
    "llamafactory_rouge_l": lambda a, b: llamafactory.rouge(a, b)["rouge-l"],
    "llamafactory_bleu_4": llamafactory.bleu_4,
}


def _sets(datasets: Sequence[str]) -> list[str]:
    return [*datasets, ALL] if len(datasets) > 1 else list(datasets)


def _places(measure: Measure, dataset: str) -> list[Place]:
    return sorted(place for place in measure.counts if dataset in (ALL, place[0]))


def _scores(measures: Measures, datasets: Sequence[str], names: Sequence[str], draws: int) -> Iterable[Score]:
    for candidate, own in measures.items():
        for dataset in _sets(datasets):
            for name in names:
                places = _places(own[name], dataset) if name in own else []
                if places:
                    found = estimate(own[name].tally(places), draws)
                    yield Score(candidate, dataset, name, found.value, found.low, found.high, len(places))


def _comparisons(measures: Measures, datasets: Sequence[str], names: Sequence[str], draws: int) -> Iterable[Comparison]:
    """Each pair, the later candidate minus the earlier one: so a tuned model minus its base."""
    for second, first in combinations(measures, 2):
        for dataset in _sets(datasets):
            for name in names:
                if name in measures[first] and name in measures[second]:
                    yield from _compared(measures, (first, second), dataset, name, draws)


def _compared(measures: Measures, pair: tuple[str, str], dataset: str, name: str, draws: int) -> Iterable[Comparison]:
    one, other = (measures[candidate][name] for candidate in pair)
    places = sorted(set(_places(one, dataset)) & set(_places(other, dataset)))
    if not places:
        return
    found = compare(one.tally(places), other.tally(places), draws)
    better = ""
    if found.beyond:
        better = pair[0] if (found.value > 0) == (name not in LOWER_IS_BETTER) else pair[1]
    yield Comparison(*pair, dataset, name, found.value, found.low, found.high, found.beyond, better, len(places))


def _verdicts(rows: Iterable[Mapping[str, Any]], draws: int) -> Iterable[Verdict]:
    """What the judge said of each pair. A row is won by whoever wins in both orders; else it is a tie."""
    said: dict[tuple[str, str], dict[Place, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        said[row["first"], row["second"]][row["dataset"], row["row"]].append(row["winner"])
    for pair, places in said.items():
        read = {place: winners for place, winners in places.items() if len(winners) == 2 and all(winners)}
        points = [1.0 if set(w) == {"first"} else 0.0 if set(w) == {"second"} else 0.5 for w in read.values()]
        if points:
            share = estimate(mean_of([100 * point for point in points]), draws)
            counts = points.count(1.0), points.count(0.0), points.count(0.5)
            yield Verdict(*pair, *counts, share.value, share.low, share.high, len(places) - len(read))


def _finite(value: Any) -> Any:
    """The same without numbers that JSON does not know: they become null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _speeds(answers: Iterable[Prediction]) -> dict[str, dict[str, float]]:
    speeds: dict[str, dict[str, float]] = {}
    for answer in answers:
        own = speeds.setdefault(answer.candidate, {"rows": 0, "tokens": 0, "seconds": 0.0})
        own["rows"] += 1
        own["tokens"] += answer.tokens
        own["seconds"] += answer.seconds
    return speeds


def _write_row_scores(folder: Path, measures: Measures) -> None:
    """Each row's own value of every score, also of those that are made of a whole set elsewhere."""
    rows: dict[tuple[str, str, int], dict[str, float]] = defaultdict(dict)
    for candidate, own in measures.items():
        for name, one in own.items():
            places = list(one.counts)
            values = one.finish(np.array([one.counts[place] for place in places], dtype=np.float64)) if places else []
            for place, value in zip(places, values, strict=True):
                if math.isfinite(value):
                    rows[candidate, *place][name] = round(float(value), 6)
    lines = [
        json.dumps({"candidate": key[0], "dataset": key[1], "row": key[2], "scores": values}, ensure_ascii=False) + "\n"
        for key, values in rows.items()
    ]
    write_text(folder / ROW_SCORES, "".join(lines), durable=False)
