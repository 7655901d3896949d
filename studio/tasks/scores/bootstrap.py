"""How sure a score is: intervals by drawing the rows anew, and whether two models differ beyond chance.

Every score is a function of counts that are added up over the rows (a mean: sum and number). Drawing rows with
replacement then means adding their counts as often as they were drawn, for a mean and for BLEU alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

LEVEL = 0.95
NUMBERS_AT_ONCE = 4_000_000  # draws times rows held in memory together: 32 MB
NUMBERS_KEPT = 32_000_000  # 64 MB
SEED = 20_240_229


@dataclass(frozen=True)
class Estimate:
    """A score with the ends of its 95 % interval; both ends are the value itself for a single row."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """First minus second on the same rows. `beyond`: the 95 % interval of the difference does not hold 0."""

    value: float
    low: float
    high: float

    @property
    def beyond(self) -> bool:
        """Whether chance in the choice of rows does not explain it."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Tally:
    """A score's counts: `counts` of shape (rows, k), `finish` makes of added counts (lines, k) one number a line."""

    counts: Numbers
    finish: Callable[[Numbers], Numbers]
    _samples: dict[int, Numbers] = field(default_factory=dict[int, "Numbers"], compare=False)

    @property
    def value(self) -> float:
        """The score of all rows."""
        return float(self.finish(self.counts.sum(axis=0, keepdims=True))[0])

    def resampled(self, draws: int) -> Numbers:
        """The score of each of `draws` samples. The same number of rows draws the same rows, so pairs stay pairs."""
        if draws not in self._samples:
            blocks = _weights(len(self.counts), draws)
            parts = [self.finish(block.astype(np.float64) @ self.counts) for block in blocks]
            self._samples[draws] = np.concatenate(parts)
        return self._samples[draws]


def mean_of(values: list[float]) -> Tally:
    """The tally of a plain mean."""
    return Tally(np.column_stack([np.asarray(values, dtype=np.float64), np.ones(len(values))]), ratio)


def ratio(sums: Numbers) -> Numbers:
    """First column by second: a mean, or a loss a token."""
    return sums[:, 0] / np.maximum(sums[:, 1], 1e-300)


def estimate(tally: Tally, draws: int) -> Estimate:
    """The score with its percentile interval (Efron, 1979)."""
    low, high = _ends(tally.resampled(draws))
    return Estimate(tally.value, low, high)


def compare(first: Tally, second: Tally, draws: int) -> Difference:
    """The paired bootstrap of first minus second, whose counts are of the same rows in the same order (Koehn, 2004).

    Raises ValueError for different numbers of rows.
    """
    if len(first.counts) != len(second.counts):
        raise ValueError(f"{len(first.counts)} and {len(second.counts)} rows cannot be compared row by row")
    low, high = _ends(first.resampled(draws) - second.resampled(draws))
    return Difference(first.value - second.value, low, high)


def _ends(values: Numbers) -> tuple[float, float]:
    with np.errstate(invalid="ignore"):  # an infinite perplexity has no interval
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _weights(rows: int, draws: int) -> Iterable[NDArray[np.uint16]]:
    """How often each row is drawn, as blocks of shape (some draws, rows); kept for the next score if few."""
    return _kept_blocks(rows, draws) if rows * draws <= NUMBERS_KEPT else _blocks(rows, draws)


@lru_cache(maxsize=4)
def _kept_blocks(rows: int, draws: int) -> tuple[NDArray[np.uint16], ...]:
    return tuple(_blocks(rows, draws))


def _blocks(rows: int, draws: int) -> Iterator[NDArray[np.uint16]]:
    generator = np.random.default_rng(SEED)
    block = max(1, NUMBERS_AT_ONCE // max(rows, 1))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        drawn = generator.integers(rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.uint16)
