"""The page gets a long run in answers of a bounded size, then only what is new, and nothing when nothing moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.runs.metrics import append_row, open_rows
from studio.runs.supervisor import Supervisor
from studio.web.curve_cache import MOST_POINTS
from studio.web.runs_view import RunsView

KEYS = ("loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second", "entropy", "a", "b", "c", "d")
STEPS = 6000


class Page:
    """What the page has of each curve, kept as the script in the browser keeps it."""

    def __init__(self, view: RunsView) -> None:
        self.view = view
        self.curves: dict[str, list[Any]] = {}
        self.cursors: dict[str, list[int]] = {}

    def tick(self) -> tuple[int, bool]:
        """The number of points that came, and whether the answer says that more is waiting."""
        request = {"run": "run", "view": "charts", "weight": None, "cursors": self.cursors}
        panel = self.view.tick(request).get("panel") or {"figures": [], "more": False}
        points = 0
        for curve in (curve for figure in panel["figures"] for curve in figure["curves"]):
            kept = self.curves.setdefault(curve["key"], [])
            kept[curve["from"] :] = curve["buckets"]
            points += sum(map(len, curve["buckets"]))
            self.cursors[curve["key"]] = [curve["generation"], len(kept) - curve["open"], curve["seen"]]
        return points, panel["more"]


@pytest.fixture
def long_run(tmp_path: Path) -> tuple[RunsView, Path]:
    """A view of one run with ten keys, and its metrics file."""
    workspace = Workspace(tmp_path)
    supervisor = Supervisor(workspace)
    supervisor.submit("run", "train", "", hold=True)
    file = supervisor.folder("run").metrics_file
    with open_rows(file) as rows:
        for step in range(1, STEPS + 1):
            append_row(rows, {"step": step, **{key: float(step % 97) for key in KEYS}})
    return RunsView(workspace, supervisor), file


def test_no_answer_is_large_and_together_they_are_the_whole(long_run: tuple[RunsView, Path]) -> None:
    page = Page(long_run[0])
    answers = [page.tick()]
    while answers[-1][1]:
        answers.append(page.tick())
    assert len(answers) > 1
    assert all(0 < points <= MOST_POINTS for points, _ in answers)
    assert set(KEYS) < set(page.curves), "every key, and the loss smoothed"
    assert all(curve[0][0][0] <= 97 and curve[-1][-1][0] == STEPS for curve in page.curves.values())
    assert page.tick() == (0, False)


def test_one_new_row_is_a_few_points(long_run: tuple[RunsView, Path]) -> None:
    view, file = long_run
    page = Page(view)
    while page.tick()[1]:
        continue
    with open_rows(file) as rows:
        append_row(rows, {"step": STEPS + 1, **dict.fromkeys(KEYS, 1.0)})
    points, more = page.tick()
    assert len(page.curves) <= points <= 6 * len(page.curves)
    assert not more
    assert all(curve[-1][-1][0] == STEPS + 1 for curve in page.curves.values())
