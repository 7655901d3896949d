"""The price of leaving the reference: fixed, or adapted so that the distance stays near a target."""

from __future__ import annotations

from dataclasses import dataclass

HORIZON = 10_000  # answers over which the price follows, as in the paper's experiments
MOST_ERROR = 0.2


@dataclass
class KlPrice:
    """`coefficient` is points a nat. Without a target it stays as it is."""

    coefficient: float
    target: float | None

    def adapt(self, distance: float, answers: int) -> None:
        """Raise the price where answers are further from the reference than the target, in nats an answer, lower it
        where they are nearer (Ziegler et al. 2019, section 2.2)."""
        if self.target is None:
            return
        error = max(-MOST_ERROR, min(MOST_ERROR, distance / self.target - 1))
        self.coefficient *= 1 + error * answers / HORIZON


@dataclass
class Deviation:
    """Running mean and deviation of scores (Welford 1962), to divide scores by."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, scores: list[float]) -> None:
        """Take in the scores of a step."""
        for score in scores:
            self.count += 1
            before = score - self.mean
            self.mean += before / self.count
            self.squares += before * (score - self.mean)

    @property
    def value(self) -> float:
        """The deviation, or 1 while it is unknown or nothing."""
        deviation = (self.squares / (self.count - 1)) ** 0.5 if self.count > 1 else 0.0
        return deviation if deviation > 1e-6 else 1.0
