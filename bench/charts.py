"""What one look at a very long run costs: `python -m bench.charts [STEPS]`.

A run folder with STEPS logged steps and ten charts is looked at through RunsView.tick, as the page does it: the request
carries what the page has, and the reply is turned into JSON. The same folder is then opened in Chromium, which asks
once a second.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

from bench.report import spread, write_result
from bench.server import chromium, fill, wait_for_page, webui
from studio.config.workspace import Workspace
from studio.runs.metrics import append_row
from studio.runs.supervisor import Supervisor
from studio.web.runs_view import RunsView

NAME = "long"
CONFIG = "model: {path: models/x}\ndata: {datasets: [x]}\n"
ROUNDS = 20
_DRAWN = "(count) => document.querySelectorAll('[data-figure] path.curve').length >= count"
_CURVES = 11  # ten keys, and the loss smoothed
_CHANGED = "(path) => document.querySelector('[data-figure=loss] path.raw').getAttribute('d') !== path"


def row(step: int) -> dict[str, Any]:
    """One logged step: ten keys that get a chart, and the epoch."""
    noise = math.sin(12.9898 * step) * 43758.5453 % 1
    return {
        "step": step,
        "loss": 0.5 + 3 * math.exp(-step / 20000) + 0.3 * noise,
        "grad_norm": 1 + noise,
        "learning_rate": 2e-4 * (1 - step / 1e6),
        "epoch": step / 1000,
        "num_tokens": 300 * step,
        "entropy": 2 - noise,
        "mean_token_accuracy": 0.5 + noise / 3,
        "tokens_per_second": 900 + 100 * noise,
        "padding_share": noise / 10,
        "memory_process_peak": 1_500_000_000 + step,
        "memory_gpu_allocated_peak": 2_000_000_000 + step,
    }


class Page:
    """The reader's side: it remembers what it has, as the script in the browser does."""

    def __init__(self, view: RunsView) -> None:
        self.view = view
        self.cursors: dict[str, list[int]] = {}
        self.versions: dict[str, Any] = {}
        self.counts: dict[str, int] = {}

    def tick(self) -> tuple[float, int, int, dict[str, Any]]:
        """Seconds, points and bytes of one tick, and the reply."""
        request = {"language": "en", "run": NAME, "view": "charts", "weight": None, "cursors": self.cursors}
        begun = time.perf_counter()
        reply = self.view.tick({**request, **self.versions})
        text = json.dumps(reply)
        seconds = time.perf_counter() - begun
        return seconds, self._take(json.loads(text)), len(text), reply

    def _take(self, reply: dict[str, Any]) -> int:
        """Keep what came; the number of points in it."""
        points = 0
        if "list" in reply:
            self.versions["list"] = reply["list"]["version"]
        if "detail" in reply:
            self.versions["version"] = reply["detail"]["version"]
        for figure in reply.get("panel", {}).get("figures", ()):
            for curve in figure["curves"]:
                points += sum(map(len, curve["buckets"]))
                full = curve["from"] + len(curve["buckets"]) - curve["open"]
                self.cursors[curve["key"]] = [curve["generation"], full, curve["seen"]]
        return points


def main(steps: int) -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name))
        fill(workspace.root)
        supervisor = Supervisor(workspace)
        supervisor.submit(NAME, "train", CONFIG, hold=True)
        file = supervisor.folder(NAME).metrics_file
        with file.open("a", encoding="utf-8") as rows:
            for step in range(1, steps + 1):
                append_row(rows, row(step))
            size = file.stat().st_size
            table = [("tick", "median", "least", "most", "most points", "most bytes of the reply")]
            table += measure(RunsView(workspace, supervisor), rows, steps)
            table += in_the_browser(workspace, rows)
    write_result(
        "charts",
        f"python -m bench.charts {steps}",
        f"One run of {steps:,} logged steps with ten keys, {size / 1024**2:.0f} MB of metrics.jsonl; times in seconds.",
        table,
        ["Goal: under 0.2 s where little changed, at most 2,000 points at once, none where nothing moved. "
         "LlamaBoard: 0.67 s a tick at 10,000 rows, 1.4 s at 50,000, whatever changed."],
    )  # fmt: skip


def measure(view: RunsView, rows: TextIO, steps: int) -> list[tuple[str, ...]]:
    """One line of the table for each kind of tick."""
    page = Page(view)
    first = page.tick()
    catch_up = until_all_is_there(page)
    still = [page.tick() for _ in range(ROUNDS)]
    moving = []
    for step in range(steps + 1, steps + ROUNDS + 1):
        append_row(rows, row(step))
        moving.append(page.tick())
    coarsened = []
    for step in range(steps + ROUNDS + 1, steps + ROUNDS + 1 + 40_000):
        append_row(rows, row(step))
        if step % 1000 == 0:
            coarsened.append(page.tick())
    second = Page(view)
    other = [second.tick(), *until_all_is_there(second)]
    return [
        line("first, reading the whole file", [first]),
        line("the rest of the first look", catch_up),
        line("nothing moved", still),
        line("one new row", moving),
        line("1,000 new rows", coarsened),
        line("another page's first look", other),
    ]


def in_the_browser(workspace: Workspace, rows: TextIO) -> list[tuple[str, ...]]:
    """Seconds until all curves are drawn, for the server's first reader and for later ones, and for one new row."""
    opened: list[float] = []
    with chromium() as browser, webui(workspace.root) as (process, address):
        wait_for_page(process, address)
        for _ in range(4):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            begun = time.perf_counter()
            page.goto(f"{address}?tab=runs&run={NAME}")
            page.wait_for_function(_DRAWN, arg=_CURVES, polling=10)
            opened.append(time.perf_counter() - begun)
        moved: list[float] = []
        for step in range(10**6, 10**6 + 10 * ROUNDS, 10):
            path = page.locator("[data-figure=loss] path.raw").get_attribute("d")
            begun = time.perf_counter()
            append_row(rows, {**row(step), "loss": 5.0 + step // 10 % 2})  # far from the point before: a new line
            page.wait_for_function(_CHANGED, arg=path, polling=10)
            moved.append(time.perf_counter() - begun)
    return [
        ("Chromium: from the address to all curves, first reader", *spread(opened[:1]), "", ""),
        ("Chromium: the same, later readers", *spread(opened[1:]), "", ""),
        ("Chromium: from a new row in the file to its point on the page", *spread(moved), "", ""),
    ]


def until_all_is_there(page: Page) -> list[tuple[float, int, int, dict[str, Any]]]:
    """Ticks until nothing new comes."""
    ticks = []
    while (tick := page.tick())[1]:
        ticks.append(tick)
    return ticks


def line(title: str, ticks: list[tuple[float, int, int, dict[str, Any]]]) -> tuple[str, ...]:
    """A title, the spread of the times, the most points and the most bytes."""
    if not ticks:
        return (title, "-", "-", "-", "0", "0")
    most = (f"{max(tick[index] for tick in ticks):,}" for index in (1, 2))
    return (title, *spread([tick[0] for tick in ticks], 4), *most)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
