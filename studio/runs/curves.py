"""A curve of any length in at most a few hundred buckets, growing at its end, sent to the page piece by piece.

Points fall into buckets of a power-of-two size, and a full bucket keeps its lowest and its highest point. So spikes
stay, a point once drawn never moves (it may vanish when two buckets become one), and a reader who knows how many
buckets it has needs only those behind them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Point = tuple[float, float]
Bucket = list[Point]

_generations = itertools.count(1)


@dataclass
class Curve:
    """Points of one series. `generation` changes whenever buckets that were already sent are no longer true."""

    most_buckets: int = 500
    generation: int = field(default_factory=lambda: next(_generations))
    size: int = 1
    full: list[Bucket] = field(default_factory=list[Bucket])
    open: Bucket = field(default_factory=list[Point])
    held: int = 0
    seen: int = 0
    newest: Point | None = None

    def extend(self, steps: Sequence[float], values: Sequence[float]) -> None:
        """Take in the points that came after those seen before."""
        for point in zip(steps, values, strict=True):
            self.open.append(point)
            self.newest = point
            self.held += 1
            if self.held == self.size:
                self._close()
        self.seen += len(values)

    def _close(self) -> None:
        self.full.append(extremes(self.open))
        self.open, self.held = [], 0
        if len(self.full) >= self.most_buckets:
            self._coarsen()

    def _coarsen(self) -> None:
        """Make buckets of double size out of pairs; the lowest of a pair's lowest is the lowest of both."""
        if len(self.full) % 2:
            self.open, self.held = self.full.pop(), self.size
        self.full = [extremes(left + right) for left, right in zip(self.full[::2], self.full[1::2], strict=True)]
        self.size *= 2
        self.generation = next(_generations)

    def since(self, known: Sequence[int] | None) -> dict[str, Any] | None:
        """What a reader lacks who knows (generation, full buckets, points seen); None when it has everything.

        `from` is the number of buckets to keep, `buckets` what follows them; the last is still open when `open` is 1,
        and is sent again when it has grown.
        """
        generation, full, seen = known or (0, 0, 0)
        if generation == self.generation and seen == self.seen:
            return None
        start = full if generation == self.generation else 0
        last = self._end()
        return {
            "generation": self.generation,
            "from": start,
            "buckets": [*self.full[start:], *last],
            "open": len(last),
            "seen": self.seen,
        }

    def _end(self) -> list[Bucket]:
        """The open bucket with the newest point, so that a curve always reaches as far as the run; none if it does."""
        found = extremes(self.open) if self.open else []
        shown = found or (self.full[-1] if self.full else [])
        if self.newest is not None and self.newest not in shown:
            found = [*found, self.newest]
        return [found] if found else []


@dataclass
class Smoother:
    """TensorBoard's debiased exponential moving average, point by point.

    a_0 = 0, a_i = w a_(i-1) + (1 - w) x_i, and point i is a_i / (1 - w^i), which takes out the pull towards the zero
    that the average starts from (Kingma and Ba 2015, section 3). No point depends on a later one.
    """

    weight: float
    average: float = 0.0
    rest: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight < 1.0:
            raise ValueError(f"weight is {self.weight}; it must be at least 0 and below 1")

    def extend(self, values: Sequence[float]) -> list[float]:
        """The smoothed values of the points that come next."""
        smoothed: list[float] = []
        for value in values:
            self.average = self.weight * self.average + (1.0 - self.weight) * value
            self.rest *= self.weight
            smoothed.append(self.average / (1.0 - self.rest))
        return smoothed


def extremes(bucket: Bucket) -> Bucket:
    """The lowest and the highest point of a bucket, in the order in which they came; one if they are the same."""
    low = min(bucket, key=lambda point: point[1])
    high = max(bucket, key=lambda point: point[1])
    if low == high:
        return [low]
    return [low, high] if low[0] <= high[0] else [high, low]


def initial_weight(count: int) -> float:
    """LlamaBoard's smoothing weight for `count` points: 1.8 (1 / (1 + e^(-0.05 n)) - 0.5), from 0 towards 0.9."""
    return 1.8 * (1.0 / (1.0 + math.exp(-0.05 * count)) - 0.5)
