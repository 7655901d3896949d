"""Intervals and comparisons: right by theory where there is one, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu

from studio.tasks.scores import corpus
from studio.tasks.scores.bootstrap import Tally, compare, estimate, mean_of, ratio
from tests.evaluate.llamafactory_numbers import EXPECTED

DRAWS = 2000
NORMAL_95 = 1.96


def noise(seed: int, rows: int = 200) -> list[float]:
    return list(np.random.default_rng(seed).normal(50, 10, rows))


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    values = noise(1)
    found, error = estimate(mean_of(values), DRAWS), np.std(values) / np.sqrt(len(values))
    assert found.value == pytest.approx(np.mean(values))
    assert found.low == pytest.approx(found.value - NORMAL_95 * error, abs=0.2)
    assert found.high == pytest.approx(found.value + NORMAL_95 * error, abs=0.2)
    assert estimate(mean_of(values), DRAWS) == found


def test_the_interval_holds_the_truth_nineteen_times_of_twenty() -> None:
    held = [
        found.low <= 50 <= found.high for found in (estimate(mean_of(noise(seed, rows=60)), 400) for seed in range(200))
    ]
    assert 0.9 <= np.mean(held) <= 0.99


def test_a_score_of_a_whole_set_is_made_anew_from_the_drawn_rows() -> None:
    counter = corpus.bleu_counter(chinese=False)
    counts = np.array([corpus.bleu_counts(answer, reference, counter) for answer, reference, _ in EXPECTED])
    drawn = [0, 0, 6, 6, 6, 13, 1]
    weights = np.bincount(drawn, minlength=len(EXPECTED)).astype(float)[None]
    answers, references = [EXPECTED[row][0] for row in drawn], [[EXPECTED[row][1] for row in drawn]]
    assert corpus.bleu(weights @ counts)[0] == pytest.approx(sacrebleu.corpus_bleu(answers, references).score)
    found = estimate(Tally(counts, corpus.bleu), 200)
    assert found.low < found.value < found.high


def test_a_loss_a_token_weighs_rows_by_their_tokens() -> None:
    counts = np.array([[10.0, 5.0], [1.0, 10.0]])
    assert Tally(counts, ratio).value == pytest.approx(11 / 15)


def test_a_small_steady_gain_is_beyond_chance_only_when_rows_are_paired() -> None:
    before = noise(2)
    after = [value + 1 + 0.1 * (turn - 50) for value, turn in zip(before, noise(3), strict=True)]
    found = compare(mean_of(after), mean_of(before), DRAWS)
    assert found.beyond and found.low > 0
    assert estimate(mean_of(after), DRAWS).low < estimate(mean_of(before), DRAWS).high  # the intervals alone overlap


def test_chance_alone_is_not_beyond_it() -> None:
    assert not compare(mean_of(noise(4)), mean_of(noise(5)), DRAWS).beyond
    same = compare(mean_of(noise(4)), mean_of(noise(4)), DRAWS)
    assert (same.value, same.low, same.high, same.beyond) == (0, 0, 0, False)


def test_different_rows_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="2 and 1 rows"):
        compare(mean_of([1, 2]), mean_of([1]), DRAWS)
