"""From a run's metrics to what a diagnosis looks at: few enough points that it costs nothing while a run goes on."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from studio.config.train import TrainConfig
from studio.runs.diagnosis import Course, Finding, Points, diagnose
from studio.runs.folder import RunFolder
from studio.runs.metrics import NON_FINITE, MetricsLog
from studio.runs.remedies import FAILED_TO_LEARN, Changes, remedy

MOST_POINTS = 600
WHOLE_POINTS = 4000
"""Newest points that are kept as they are, for what shows in single points alone."""


def course_of(log: MetricsLog, total: int, online: bool) -> Course:
    """The course of a run as far as `log` was read. `total` is its length in steps, `online` whether it learns from
    points for its own answers."""
    raw = {key: Points(*log.points(key)) for key in list(log.series)}
    return Course(
        curves={key: thinned(points) for key, points in raw.items()},
        recent={"loss": Points(raw["loss"].steps[-WHOLE_POINTS:], raw["loss"].values[-WHOLE_POINTS:])}
        if "loss" in raw
        else {},
        not_finite=[event for event in log.events if event["event"] == NON_FINITE],
        total=total,
        online=online,
    )


def thinned(points: Points, most: int = MOST_POINTS) -> Points:
    """At most about `most` points: the median of as many neighbours each, at the first of their steps. The newest
    points stay single, so that an end of the curve is seen at once."""
    stride = len(points) // most
    if stride < 2:
        return points
    whole = (len(points) - most // 10) // stride * stride
    steps = [*points.steps[:whole:stride], *points.steps[whole:]]
    values = [_median(points.values[start : start + stride]) for start in range(0, whole, stride)]
    return Points(steps, [*values, *points.values[whole:]])


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def findings_of(folder: RunFolder, log: MetricsLog, config: TrainConfig) -> list[Finding]:
    """What the numbers of a run say, the worst first."""
    return diagnose(course_of(log, folder.status().total, config.stage.online))


def offer(folder: RunFolder, config: TrainConfig, findings: Sequence[Finding]) -> Changes:
    """Changes to the settings with which to try again: after a failure, or when the numbers were not finite."""
    end, failure = folder.end(), folder.status().failure
    kind = end.kind or (failure.kind if failure else "")
    if not kind and any(finding.code in (FAILED_TO_LEARN, "diverging") for finding in findings):
        kind = FAILED_TO_LEARN
    return remedy(config, kind)
