"""The curves of runs in the server's memory: a file is read on from where the last reading ended, never again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.runs.curves import Curve, Smoother, initial_weight
from studio.runs.folder import RunFolder
from studio.runs.metrics import MetricsLog

_MOST_RUNS = 64
MOST_POINTS = 2000  # in one answer
_MOST_BUCKETS = 498  # two points each and the newest one: at most 1,000 points a curve, 2,000 with the smoothed one
_SPARK_BUCKETS = 32


@dataclass
class RunCurves:
    """One run's metrics file and the curves made of it so far."""

    log: MetricsLog
    lock: threading.Lock = field(default_factory=threading.Lock)
    curves: dict[tuple[str, float | None], Curve] = field(default_factory=dict[tuple[str, float | None], Curve])
    smoothers: dict[tuple[str, float], Smoother] = field(default_factory=dict[tuple[str, float], Smoother])
    course: int = -1

    def refresh(self) -> None:
        """Read what is new. A resumed run took another course after some step: then the curves are made anew."""
        self.log.poll()
        if self.log.course != self.course:
            self.course = self.log.course
            self.curves.clear()
            self.smoothers.clear()

    def curve(self, key: str, weight: float | None, buckets: int = _MOST_BUCKETS) -> Curve:
        """The curve of one key as far as the file goes; smoothed when there is a weight."""
        name = (key, weight)
        curve = self.curves.setdefault(name, Curve(buckets))
        series = self.log.series.get(key)
        if series is None:
            return curve
        start = curve.seen
        fresh: Sequence[float] = series.values[start:]
        if weight is not None:
            fresh = self.smoothers.setdefault((key, weight), Smoother(weight)).extend(fresh)
        curve.extend(series.steps[start:], fresh)
        return curve


class CurveCache:
    """The curves of the runs looked at last."""

    def __init__(self) -> None:
        self._runs: OrderedDict[Path, RunCurves] = OrderedDict()
        self._sparks: dict[Path, tuple[float, list[float]]] = {}
        self._lock = threading.Lock()

    def run(self, folder: RunFolder) -> RunCurves:
        """The curves of one run; the run that was looked at longest ago is forgotten."""
        with self._lock:
            found = self._runs.setdefault(folder.path, RunCurves(MetricsLog(folder.metrics_file)))
            self._runs.move_to_end(folder.path)
            while len(self._runs) > _MOST_RUNS:
                self._runs.popitem(last=False)
            return found

    def spark(self, folder: RunFolder) -> list[float]:
        """A few values of the loss over the whole run for the list's small curve; read only when the file moved."""
        try:
            moved = folder.metrics_file.stat().st_mtime_ns
        except FileNotFoundError:
            return []
        known = self._sparks.get(folder.path)
        if known is not None and known[0] == moved:
            return known[1]
        run = self.run(folder)
        with run.lock:
            run.refresh()
            curve = run.curve("loss", None)
            points = [point for bucket in (*curve.full, curve.open) for point in bucket]
        values = [round(value, 5) for _, value in points]
        stride = max(1, len(values) // _SPARK_BUCKETS)
        shown = [*values[::stride], *values[-1:]] if values else []
        self._sparks[folder.path] = (moved, shown)
        return shown

    def figures(
        self,
        folder: RunFolder,
        titles: Mapping[str, str],
        cursors: Mapping[str, Any],
        weight: float | None,
        length: int,
    ) -> tuple[list[dict[str, Any]], float, bool]:
        """What the page lacks of each figure, the weight used (LlamaBoard's formula when the reader chose none), and
        whether more is waiting: an answer holds at most MOST_POINTS, and the figures behind come with the next one.

        `cursors` says by curve what the reader has; `length` is the expected number of logged points, so that the
        first weight does not change while the run goes on.
        """
        run = self.run(folder)
        with run.lock:
            run.refresh()
            count = max(length, len(run.log.series.get("loss", ())))
            used = round(initial_weight(count), 2) if weight is None else min(0.999, max(0.0, weight))
            found = (_figure(run, key, title, cursors, used) for key, title in titles.items())
            fitting, more = _fitting(figure for figure in found if figure is not None)
        return fitting, used, more

    def events(self, folder: RunFolder) -> list[dict[str, Any]]:
        """What happened in the run beside its numbers."""
        run = self.run(folder)
        with run.lock:
            run.refresh()
            return list(run.log.events)

    def keys(self, folder: RunFolder) -> list[str]:
        """Every key that the run has logged, in the order of appearance."""
        run = self.run(folder)
        with run.lock:
            run.refresh()
            return list(run.log.series)


def _fitting(figures: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """The first figures with at most MOST_POINTS together, and whether there are others; one alone always fits."""
    found: list[dict[str, Any]] = []
    room = MOST_POINTS
    for figure in figures:
        room -= sum(len(bucket) for curve in figure["curves"] for bucket in curve["buckets"])
        if room < 0:
            return found, True
        found.append(figure)
    return found, False


def _figure(run: RunCurves, key: str, title: str, cursors: Mapping[str, Any], weight: float) -> dict[str, Any] | None:
    """One chart's news; None when the page has all of it."""
    wanted: list[tuple[str, float | None, str]] = [(key, None, "raw" if key == "loss" else "only")]
    if key == "loss":
        wanted.append((f"{key}~{weight:g}", weight, "smoothed"))
    news: list[dict[str, Any]] = []
    for name, used, kind in wanted:
        curve = run.curve(key, used)
        fresh = curve.since(cursors.get(name))
        if fresh is not None:
            news.append({"key": name, "kind": kind, **fresh})
    return (
        {"key": key, "title": title, "unit": "bytes" if key.startswith("memory_") else "", "curves": news}
        if news
        else None
    )
