"""The views of one run beside its head: charts, samples, answers, log … Each sends only what the page lacks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from studio.config.kinds import KINDS
from studio.runs.atomic import read_text
from studio.runs.checkpoints import checkpoints
from studio.runs.configs import config_of
from studio.runs.environment import mask_secrets
from studio.runs.folder import LOG_TAIL_BYTES, RunFolder
from studio.web.chart_places import ordered, title
from studio.web.curve_cache import CurveCache
from studio.web.run_answers import newest
from studio.web.summary import command_text
from studio.web.words import say

Request = Mapping[str, Any]
Panel = dict[str, Any] | None


def charts(language: str, folder: RunFolder, cache: CurveCache, request: Request) -> Panel:
    """New points of every chart, the weight of the smoothing, the lowest evaluation loss; `more`: ask again at once."""
    titles = {key: title(language, key) for key in ordered(cache.keys(folder)) or ["loss"]}
    weight = request.get("weight")
    figures, used, more = cache.figures(
        folder, titles, request.get("cursors") or {}, None if weight is None else float(weight), folder.status().total
    )
    if not figures:
        return None
    names = {kind: say(language, f"page.runs.charts.{kind}") for kind in ("raw", "smoothed")}
    for figure in figures:
        for curve in figure["curves"]:
            curve["name"] = names.get(curve["kind"], "")
    return {"figures": figures, "weight": used, "best": _best(language, folder, cache), "more": more}


def _best(language: str, folder: RunFolder, cache: CurveCache) -> str:
    """Where the evaluation loss was lowest; "" while there is none."""
    run = cache.run(folder)
    with run.lock:
        series = run.log.series.get("eval_loss")
        if not series:
            return ""
        value = min(series.values)
        step = series.steps[series.values.index(value)]
    return say(language, "page.runs.best_so_far", value=f"{value:.4g}", step=step)


def log(_language: str, folder: RunFolder, _cache: CurveCache, request: Request) -> Panel:
    """Whole new lines of the log, values of secret variables masked; a first look gets the end of a long log."""
    try:
        size = folder.log_file.stat().st_size
    except FileNotFoundError:
        return None
    known = request.get("offset")
    offset = known if isinstance(known, int) and 0 <= known <= size else max(0, size - LOG_TAIL_BYTES)
    with folder.log_file.open("rb") as file:
        file.seek(offset)
        chunk = file.read(4 * LOG_TAIL_BYTES)
    whole = chunk[: chunk.rfind(b"\n") + 1]
    if not whole:
        return None
    text = mask_secrets(whole.decode("utf-8", errors="replace"), os.environ)
    return {"from": known, "offset": offset + len(whole), "text": text}


def samples(_language: str, folder: RunFolder, _cache: CurveCache, request: Request) -> Panel:
    """What the model answered at which step, by question."""
    text = read_text(folder.path / "samples.jsonl")
    version = str(len(text))
    if version == request.get("panel_version"):
        return None
    prompts: dict[str, list[dict[str, Any]]] = {}
    for line in text.splitlines():
        try:
            row = json.loads(line)
            prompts.setdefault(row["prompt"], []).append({"step": row["step"], "answer": row["answer"]})
        except (ValueError, KeyError, TypeError):
            continue  # the last line may be half-written; it is read again when it is whole
    return {"version": version, "prompts": [{"prompt": name, "answers": rows} for name, rows in prompts.items()]}


def answers(_language: str, folder: RunFolder, _cache: CurveCache, request: Request) -> Panel:
    """Answers with their points, of a run that learns from what its answers are worth."""
    return newest(folder.completions_file, request)


def config(_language: str, folder: RunFolder, _cache: CurveCache, request: Request) -> Panel:
    """The run's config as it is, and the command that starts such a run."""
    text = folder.config_text()
    version = str(hash(text))
    if version == request.get("panel_version"):
        return None
    kind = KINDS.get(folder.job().kind)
    parsed = config_of(folder, kind.config) if kind else None
    return {"version": version, "yaml": text, "command": command_text(parsed) if parsed else ""}


def files(_language: str, folder: RunFolder, _cache: CurveCache, request: Request) -> Panel:
    """Files and checkpoints with their sizes; a checkpoint that is not whole says why."""
    points = {point.name: point for point in checkpoints(folder)}
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.path.iterdir()):
        point = points.get(path.name)
        size = RunFolder(path).size_bytes() if path.is_dir() else path.stat().st_size
        name = f"{path.name}/" if path.is_dir() else path.name
        rows.append({"name": name, "size": size, "complete": point.complete if point else None,
                     "reason": point.reason if point else ""})  # fmt: skip
    version = str(hash(json.dumps(rows)))
    return None if version == request.get("panel_version") else {"version": version, "files": rows}


PANELS: dict[str, Callable[[str, RunFolder, CurveCache, Request], Panel]] = {
    "charts": charts,
    "samples": samples,
    "answers": answers,
    "log": log,
    "config": config,
    "files": files,
}
