"""Curves of any length: drawn points stay where they are, spikes stay in sight, nothing looks ahead."""

from __future__ import annotations

import math
import random

import pytest

from studio.runs.curves import Bucket, Curve, Point, Smoother, initial_weight


def noise(count: int, seed: int = 1) -> list[float]:
    generator = random.Random(seed)
    return [generator.gauss(0, 1) + (20 if generator.random() < 0.001 else 0) for _ in range(count)]


def curve_of(values: list[float], most: int = 500) -> Curve:
    curve = Curve(most)
    curve.extend(range(len(values)), values)
    return curve


def drawn(curve: Curve) -> list[Point]:
    news = curve.since(None)
    return [point for bucket in news["buckets"] for point in bucket] if news else []


def smooth(values: list[float], weight: float) -> list[float]:
    return Smoother(weight).extend(values)


class Reader:
    """A page: keeps the buckets that it was sent, as the script in the browser does."""

    def __init__(self) -> None:
        self.buckets: list[Bucket] = []
        self.known: tuple[int, int, int] | None = None
        self.points_received = 0

    def look(self, curve: Curve) -> bool:
        news = curve.since(self.known)
        if news is None:
            return False
        self.buckets[news["from"] :] = news["buckets"]
        self.points_received += sum(map(len, news["buckets"]))
        self.known = (news["generation"], len(self.buckets) - news["open"], news["seen"])
        return True

    @property
    def points(self) -> list[Point]:
        return [point for bucket in self.buckets for point in bucket]


def test_short_series_are_drawn_as_they_are() -> None:
    assert drawn(curve_of([3.0, 1.0, 2.0])) == [(0, 3.0), (1, 1.0), (2, 2.0)]
    assert drawn(Curve()) == []


@pytest.mark.parametrize("count", [1, 64, 65, 499, 500, 501, 1000, 4096, 33_333, 100_000])
def test_never_too_many_points_and_never_without_the_extremes_and_the_end(count: int) -> None:
    values = noise(count)
    points = drawn(curve_of(values))
    steps = [step for step, _ in points]
    kept = [value for _, value in points]
    assert len(points) <= 1003 and steps == sorted(set(steps))
    assert kept == [values[int(step)] for step in steps]
    assert (min(kept), max(kept), kept[-1]) == (min(values), max(values), values[-1])


def test_the_budget_is_used() -> None:
    assert len(drawn(curve_of(noise(100_000)))) >= 500


def test_a_growing_series_only_ever_loses_points_from_its_past() -> None:
    values, curve, before = noise(1500), Curve(32), set[Point]()
    for step, value in enumerate(values):
        curve.extend([step], [value])
        points = set(drawn(curve))
        assert points - {(step, value)} <= before, f"at {step} a point came back or moved"
        before = points


def test_a_reader_who_looks_now_and_then_sees_the_same_as_one_who_comes_last() -> None:
    values, curve, reader, chance = noise(5000), Curve(64), Reader(), random.Random(3)
    for step, value in enumerate(values):
        curve.extend([step], [value])
        if chance.random() < 0.05:
            reader.look(curve)
    reader.look(curve)
    assert reader.points == drawn(curve)
    assert not reader.look(curve), "nothing is sent when nothing moved"


def test_little_is_sent_for_little_that_is_new() -> None:
    curve, reader = curve_of(noise(100_000)), Reader()
    reader.look(curve)
    before = reader.points_received
    curve.extend([100_000], [0.5])
    reader.look(curve)
    assert reader.points_received - before <= 5


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.6, 0.9, 0.99])
def test_smoothing_is_the_weighted_mean_of_the_past(weight: float) -> None:
    values = noise(60)
    smoothed = smooth(values, weight)
    for index in range(len(values)):
        weights = [weight ** (index - past) for past in range(index + 1)]
        mean = sum(w * x for w, x in zip(weights, values, strict=False)) / sum(weights)
        assert smoothed[index] == pytest.approx(mean, rel=1e-9, abs=1e-12)


def test_smoothing_never_looks_ahead_and_goes_on_where_it_was() -> None:
    values = noise(200)
    assert smooth(values, 0.9)[:50] == smooth(values[:50], 0.9)
    assert smooth(values, 0.0) == values
    assert smooth([3.0] * 10, 0.95) == pytest.approx([3.0] * 10)
    smoother = Smoother(0.9)
    assert smoother.extend(values[:70]) + smoother.extend(values[70:]) == smooth(values, 0.9)


@pytest.mark.parametrize("weight", [-0.1, 1.0, math.nan])
def test_smoothing_refuses_weights_outside_zero_to_one(weight: float) -> None:
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        Smoother(weight)


def test_the_initial_weight_is_llamaboards() -> None:
    assert [round(initial_weight(count), 2) for count in (5, 20, 50, 100, 10_000)] == [0.11, 0.42, 0.76, 0.89, 0.9]
    assert initial_weight(0) == 0.0
