"""What the Runs tab shows of a run's numbers: findings with their step, changes for a new try, answers with points."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from studio.config.io import dump, parse
from tests.browser.conftest import ROOT, Board, Watch, new_page

pytestmark = pytest.mark.browser


def put_run(root: Path, name: str, rows: list[dict[str, Any]], end: dict[str, Any], settings: dict[str, Any]) -> Path:
    """The folder of a run that has ended, as a worker and its shim leave it."""
    folder = root / "saves" / name
    folder.mkdir(parents=True)
    tree = {"name": name, "model": {"path": "models/x"}, "data": {"datasets": ["general"]}, **settings}
    (folder / "config.yaml").write_text(dump(parse(tree)), encoding="utf-8")
    (folder / "job.json").write_text(json.dumps({"id": name, "name": name, "kind": "train"}), encoding="utf-8")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "end.json").write_text(json.dumps({"attempt": 1, **end}), encoding="utf-8")
    status = {"phase": "finished", "step": rows[-1]["step"], "total": rows[-1]["step"]}
    (folder / "status.json").write_text(json.dumps(status), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def ended_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """A board over three runs that have ended: one learnt by heart, one found no room, one wrote answers."""
    tmp_path = tmp_path_factory.mktemp("runs")
    for name in ("data", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "dataset_info.json", tmp_path)
    falling = [{"step": step, "loss": 2 * math.exp(-step / 40)} for step in range(1, 101)]
    risen = [{"step": step, "eval_loss": 1 + (step - 40) ** 2 / 900} for step in range(10, 101, 10)]
    put_run(tmp_path, "by-heart", [*falling, *risen], {"state": "finished"}, {})
    failed = {"state": "failed", "cause": "Main memory ran out.", "kind": "main_memory"}
    batch = {"optimisation": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}}
    put_run(tmp_path, "no-room", [{"step": 1, "loss": 2.0}], failed, batch)
    sums = {"stage": {"type": "grpo", "rewards": ["exact_answer"]}, "data": {"datasets": ["sums"]}}
    folder = put_run(
        tmp_path, "sums", [{"step": step, "reward": 0.5} for step in range(1, 6)], {"state": "finished"}, sums
    )
    answers = [
        {"step": step, "where": "row 1", "prompt": "1 + 1 = ?", "answer": f"<i>{step}</i> " + "so " * 900, "tokens": 7,
         "rewards": {"exact_answer": points}, "reward": points} for step in range(1, 41) for points in (1.0, 0.0)
    ]  # fmt: skip
    (folder / "completions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers), encoding="utf-8")
    board = Board(tmp_path)
    board.start()
    yield board
    board.kill()


@pytest.fixture
def page(browser: Browser, ended_runs: Board, watch: Watch) -> Iterator[Page]:
    with new_page(browser, ended_runs, watch) as made:
        yield made


def test_findings_show_their_step_and_fill_the_form_with_what_helps(page: Page, watch: Watch) -> None:
    page.evaluate("studio.openRun('by-heart')")
    finding = page.locator("#runs .findings li")
    expect(finding).to_contain_text(["The evaluation loss was lowest at step 40"])
    expect(page.locator("#runs [data-view=answers]")).to_be_hidden()
    expect(page.locator("[data-figure=eval_loss] line.found.bad")).to_have_count(1)
    expect(page.locator("[data-figure=loss] line.found")).to_have_count(0)
    page.locator("#runs [data-view=log]").click()
    finding.get_by_role("button").click()
    expect(page.locator("[data-figure=eval_loss] line.found.bad")).to_have_count(1)
    page.evaluate("studio.openRun('no-room')")
    remedy = page.locator("#runs .findings .remedy")
    expect(remedy).to_contain_text("Batch size 8 → 4, Accumulation 2 → 4")
    remedy.get_by_role("button").click()
    expect(page.locator("#field-model-path input")).to_have_value("models/x")
    expect(page.locator("#field-optimisation-per_device_train_batch_size input")).to_have_value("4")
    expect(page.locator("#command pre")).to_contain_text("gradient_accumulation_steps=4")
    assert (watch.errors, watch.foreign) == ([], [])


def test_answers_stand_with_their_points_the_newest_first(page: Page, watch: Watch) -> None:
    page.evaluate("studio.openRun('sums')")
    page.locator("#runs [data-view=answers]").click()
    steps = page.locator(".run-answers section h3")
    expect(steps.first).to_have_text("step 40")
    newest = page.locator(".run-answers section").first
    expect(newest.locator(".points b")).to_have_text(["1", "0"])
    expect(newest.locator(".words").first).to_contain_text("<i>40</i> so")
    assert steps.count() < 40, "a long file comes in pieces"
    page.get_by_text("Earlier steps").click()
    expect(steps).to_have_count(40)
    expect(page.get_by_text("Earlier steps")).to_be_hidden()
    page.get_by_text("Worst", exact=True).click()
    expect(newest.locator(".points b")).to_have_text(["0"])
    assert (watch.errors, watch.foreign) == ([], [])
