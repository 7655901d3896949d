"""Two measured models side by side: how far the export is from the tuned model, and what to think of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Merged weights are rounded once more than base and adapter apart. Measured in bfloat16, where that is coarsest: 0.04
# of the spread and 1.4 % of the perplexity with a 135M model. An adapter that is left out is far beyond.
MOST_ROUNDING = 0.15
MOST_ROUNDING_PERPLEXITY = 0.05
LOSSY_PERPLEXITY = 0.1  # a tenth more perplexity is said aloud
BAD_PERPLEXITY = 1.0  # twice the perplexity is another model


@dataclass(frozen=True)
class Comparison:
    """How the export does beside the tuned model.

    `difference` is the root mean square of the differences of logits over the spread of the tuned model's logits, 0 for
    equal ones; `same_tokens` the share of places where both find the same token most likely, given the same text;
    `same_answers` how many greedy answers are equal token by token. Perplexities are None where none was measured.
    """

    verdict: str
    reason: str
    largest_difference: float
    difference: float
    same_tokens: float
    same_answers: int
    answers: int
    perplexity_before: float | None
    perplexity_after: float | None
    tokens_per_second_before: float | None
    tokens_per_second_after: float | None

    def record(self) -> dict[str, Any]:
        """As JSON can hold it: numbers that are not finite become None, and the verdict says so."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }


def compare(
    before: Mapping[str, Any], after: Mapping[str, Any], before_logits: Path, after_logits: Path, *, exact: bool
) -> Comparison:
    """What two probes found. `exact` says that the format rounds nothing away that the tuned model has."""
    largest, difference, same = _logits(before_logits, after_logits)
    equal = sum(one == other for one, other in zip(before["answers"], after["answers"], strict=True))
    verdict, reason = judge(difference, before["perplexity"], after["perplexity"], exact=exact)
    return Comparison(
        verdict=verdict,
        reason=reason,
        largest_difference=largest,
        difference=difference,
        same_tokens=same,
        same_answers=equal,
        answers=len(before["answers"]),
        perplexity_before=before["perplexity"],
        perplexity_after=after["perplexity"],
        tokens_per_second_before=before["tokens_per_second"],
        tokens_per_second_after=after["tokens_per_second"],
    )


def _logits(before: Path, after: Path) -> tuple[float, float, float]:
    largest, squares, spread, same, places, count = 0.0, 0.0, 0.0, 0, 0, 0
    with np.load(before) as first, np.load(after) as second:
        for name in first.files:
            one, other = first[name], second[name]
            width = min(one.shape[1], other.shape[1])  # embeddings may be padded in one of them
            one, other = one[:, :width], other[:, :width]
            if not one.size:
                continue
            apart = (one - other).astype(np.float64)
            largest = max(largest, float(np.abs(apart).max()))
            squares += float((apart**2).sum())
            spread += float(((one - one.mean(axis=1, keepdims=True)).astype(np.float64) ** 2).sum())
            same += int((one.argmax(axis=1) == other.argmax(axis=1)).sum())
            places, count = places + one.shape[0], count + one.size
    if not count:
        return 0.0, 0.0, 1.0
    return largest, math.sqrt(squares / max(spread, 1e-30)), same / places


def judge(difference: float, before: float | None, after: float | None, *, exact: bool) -> tuple[str, str]:
    """good, lossy or bad, and why it is not good."""
    if not math.isfinite(difference) or (after is not None and not math.isfinite(after)):
        return "bad", "It gives numbers that are not finite."
    rise = after / before - 1 if before and after else 0.0
    if exact:
        if difference > MOST_ROUNDING or abs(rise) > MOST_ROUNDING_PERPLEXITY:
            return "bad", (
                f"It should equal the tuned model, but its logits are {difference:.3f} of their spread away and its "
                f"perplexity is {100 * rise:+.1f} %."
            )
        return "good", ""
    if rise > BAD_PERPLEXITY or (before is None and difference > BAD_PERPLEXITY):
        return "bad", f"Its perplexity is {_words(before, after)}: too few bits for this model."
    if rise > LOSSY_PERPLEXITY:
        return "lossy", f"Its perplexity is {_words(before, after)}."
    return "good", ""


def _words(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "not measured, and its logits have little in common with those of the tuned model"
    return f"{after:.4g} and was {before:.4g} before ({100 * (after / before - 1):+.0f} %)"
