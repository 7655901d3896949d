"""What runs and probes really took: peak memory and speed, kept by all that they depend on.

One file a kind of run under .cache/probes, the newest measurement of each source in it; losing it loses nothing but
time.
"""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from studio.config.probe import weighing
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.runs.atomic import read_json, write_json
from studio.runs.folder import RunFolder
from studio.runs.metrics import MetricsLog
from studio.runs.records import Fields

VERSION = 1


@dataclass(frozen=True)
class Measured:
    """One measurement. `peak` in bytes: of the GPU's memory where there was one, else of the process; 0 unknown."""

    source: str  # probe or train
    run: str
    peak: int
    tokens_per_second: float
    seconds_per_step: float
    rows_a_step: int
    longest: int
    device: str
    time: float
    forecast: int = 0  # bytes that were foretold when it was measured; 0 where nobody asked


def key_of(config: TrainConfig, device: str) -> str:
    """The name under which measurements of such a run on `device` (cpu, cuda) are kept."""
    facts = [VERSION, weighing(config), device, platform.machine()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def measured(workspace: Workspace, key: str) -> Measured | None:
    """The newest measurement of that key; a probe's and a run's count alike. None where nothing was measured."""
    found = [one for one in _read(workspace, key).values() if one.peak]
    return max(found, key=lambda one: one.time, default=None)


def of_run(workspace: Workspace, name: str) -> Measured | None:
    """What the run or probe of that name took, as far as it was kept."""
    for path in sorted((workspace.cache / "probes").glob("*.json")):
        for one in _read(workspace, path.stem).values():
            if one.run == name:
                return one
    return None


def keep(
    workspace: Workspace, config: TrainConfig, folder: RunFolder, source: str, longest: int, now: float,
    forecast: int = 0,
) -> None:  # fmt: skip
    """Keep what the metrics of a run say of its memory and speed, and what was foretold; nothing where it logged no
    step. Raises OSError."""
    log = MetricsLog(folder.metrics_file)
    log.poll()
    gpu, process = (log.points(key)[1] for key in ("memory_gpu_reserved_peak", "memory_process_peak"))
    peaks = gpu or process
    speed = log.points("tokens_per_second")[1]
    if not peaks:
        return
    device = "cuda" if gpu else "cpu"
    own = config.optimisation
    rows = own.per_device_train_batch_size * own.gradient_accumulation_steps
    one = Measured(
        source=source,
        run=folder.name,
        peak=int(max(peaks)),
        # The first step warms up.
        tokens_per_second=statistics.median(speed[1:] or speed) if speed else 0.0,
        seconds_per_step=_seconds(log),
        rows_a_step=rows,
        longest=longest,
        device=device,
        time=now,
        forecast=forecast,
    )
    key = key_of(config, device)
    kept = {**_read(workspace, key), source: one}
    path = _file(workspace, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {name: asdict(entry) for name, entry in kept.items()})


def _seconds(log: MetricsLog) -> float:
    """Seconds between two logged steps, the median; 0 where fewer than two were logged."""
    steps, times = log.points("time")
    pairs = zip(steps, times, strict=True)
    rows = [(step, time) for step, time in pairs]
    gaps = [
        (later - earlier) / (after - before) for (before, earlier), (after, later) in pairwise(rows) if after > before
    ]
    return statistics.median(gaps) if gaps else 0.0


def _file(workspace: Workspace, key: str) -> Path:
    return workspace.cache / "probes" / f"{key}.json"


def _read(workspace: Workspace, key: str) -> Mapping[str, Measured]:
    tree: Any = read_json(_file(workspace, key))
    if not isinstance(tree, dict):
        return {}
    return {str(name): _one(Fields(value)) for name, value in tree.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _one(fields: Fields) -> Measured:
    return Measured(
        source=fields.text("source"),
        run=fields.text("run"),
        peak=fields.whole("peak"),
        tokens_per_second=fields.number("tokens_per_second") or 0.0,
        seconds_per_step=fields.number("seconds_per_step") or 0.0,
        rows_a_step=fields.whole("rows_a_step"),
        longest=fields.whole("longest"),
        device=fields.text("device"),
        time=fields.number("time") or 0.0,
        forecast=fields.whole("forecast"),
    )
