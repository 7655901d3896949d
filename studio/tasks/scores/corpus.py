"""BLEU and chrF of a whole set of answers, from counts of each row that can be added up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

CHRF_ORDERS = 6  # longest n-gram of characters
CHRF_BETA = 2  # recall counts twice
BLEU_ORDERS = 4

CHRF_COUNTS = 3 * CHRF_ORDERS
BLEU_COUNTS = 2 * BLEU_ORDERS + 2


def bleu_counter(chinese: bool) -> Any:
    """sacreBLEU with its usual settings; `chinese` cuts Chinese into signs, else mteval-v13a into words."""
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize="zh" if chinese else "13a", effective_order=True)


def bleu_counts(answer: str, reference: str, counter: Any) -> list[float]:
    """Of one row: matching n-grams and all n-grams of one to four words, words of the answer and of the reference."""
    found = counter.sentence_score(answer, [reference])
    return [*found.counts, *found.totals, found.sys_len, found.ref_len]


def bleu(sums: Numbers) -> Numbers:
    """BLEU in percent of each line of added counts, of shape (lines, 10); smoothing "exp" as sacreBLEU has it."""
    from sacrebleu.metrics.bleu import BLEU

    return np.array([_bleu(BLEU, line) for line in sums])


def _bleu(metric: Any, line: Numbers) -> float:
    counts = [int(value) for value in line]
    correct, total = counts[:BLEU_ORDERS], counts[BLEU_ORDERS : 2 * BLEU_ORDERS]
    return metric.compute_bleu(correct, total, counts[-2], counts[-1], smooth_method="exp").score


def chrf_counts(answer: str, reference: str) -> list[float]:
    """Of one row, for each length of one to six characters: n-grams of the answer, of the reference, and shared ones.

    White space is left out. Lengths that the reference does not reach count nothing (as in sacreBLEU 2).
    """
    have, want = "".join(answer.split()), "".join(reference.split())
    counts: list[float] = []
    for size in range(1, CHRF_ORDERS + 1):
        ours, theirs = _grams(have, size), _grams(want, size)
        counts += [ours.total() if theirs else 0, theirs.total(), (ours & theirs).total()]
    return counts


def chrf(sums: Numbers) -> Numbers:
    """chrF2 in percent of each line of added counts, of shape (lines, 18) (Popović, 2015).

    Precision and recall are means over the lengths that both sides reach; F weighs recall by beta squared.
    """
    ours, theirs, shared = (sums[:, start::3] for start in range(3))
    reached = (ours > 0) & (theirs > 0)
    lengths = np.maximum(reached.sum(axis=1), 1)
    precision = np.where(reached, shared / np.maximum(ours, 1), 0).sum(axis=1) / lengths
    recall = np.where(reached, shared / np.maximum(theirs, 1), 0).sum(axis=1) / lengths
    weight = CHRF_BETA**2
    divisor = weight * precision + recall
    return 100 * (1 + weight) * precision * recall / np.where(divisor > 0, divisor, 1)


def _grams(text: str, size: int) -> Counter[str]:
    return Counter(text[start : start + size] for start in range(len(text) - size + 1))
