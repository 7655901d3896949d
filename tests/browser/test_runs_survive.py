"""Whatever is closed, restarted or killed: the page tells the truth about a run, and the run can be gone on with."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from studio.config.io import parse
from studio.runs.metrics import MetricsLog
from studio.runs.states import State
from studio.runs.submission import submit_config
from studio.runs.supervisor import Supervisor
from tests.browser.conftest import Board, Watch, ended, wait_for
from tests.web.board import FAKE_WORKER

pytestmark = pytest.mark.browser


def begin(board: Board, name: str, steps: int) -> None:
    """A run with a fake worker, from the terminal's side of the house."""
    tree = {
        "name": name,
        "model": {"path": "models/x"},
        "data": {"datasets": ["general"]},
        "optimisation": {"max_steps": steps},
    }
    submit_config(Supervisor(board.supervisor.workspace, FAKE_WORKER), parse(tree))


def step_of(board: Board, name: str) -> int:
    return board.folder(name).status().step


def open_run(page: Page, board: Board, name: str) -> None:
    page.goto(f"{board.address}?tab=runs&run={name}")
    # Longer than one answer may fail to come: then the page asks again by itself.
    expect(page.locator("#runs .run-side h2")).to_have_text(name, timeout=60_000)


def last_drawn_step(page: Page) -> int:
    """The step at the right end of the loss curve, read from the chart itself."""
    return page.evaluate(
        """() => { const svg = document.querySelector('[data-figure=loss] svg');
        const box = svg.getBoundingClientRect();
        svg.dispatchEvent(new PointerEvent('pointermove', {clientX: box.right - 4, clientY: box.top + 40}));
        const text = document.querySelector('[data-figure=loss] .reading').textContent;
        return Number((text.match(/\\d+/) || [0])[0]); }"""
    )


def test_a_run_outlives_refresh_and_a_killed_server(
    board: Board, page: Page, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.1")
    begin(board, "long", 100_000)  # longer than any machine takes for this; it is stopped when all is seen
    open_run(page, board, "long")
    expect(page.locator("#runs .badge")).to_contain_text("running")
    page.reload()
    expect(page.locator("#runs .run-side h2")).to_have_text("long")
    expect(page.locator("[data-figure=loss] path.smoothed")).to_have_count(1)
    board.kill()
    expect(page.locator("#header .offline")).to_be_visible()
    before = step_of(board, "long")
    wait_for(lambda: step_of(board, "long") > before + 10, "the run to go on without a server")
    board.start()
    expect(page.locator("#header .offline")).to_be_hidden()
    page.reload()
    expect(page.locator("#runs .badge")).to_contain_text("running")
    board.supervisor.stop("long")
    wait_for(lambda: ended(board, "long"), "the end of the run")
    last = step_of(board, "long")
    expect(page.locator("#runs .badge")).to_contain_text("stopped")
    expect(page.locator("#runs .phase")).to_contain_text(f"{last}/100000")
    wait_for(lambda: last_drawn_step(page) == last, "the whole curve on the page")
    log = MetricsLog(board.folder("long").metrics_file)
    log.poll()
    assert log.points("loss")[0] == list(range(1, last + 1)), "no step is missing and none is there twice"


def test_answers_that_never_come_do_not_keep_the_page_from_asking_again(board: Board, page: Page) -> None:
    begin(board, "asked-again", 3)
    held: list[Route] = []

    def hold(route: Route) -> None:
        if len(held) < 2:
            held.append(route)  # neither answered nor refused
        else:
            route.continue_()

    page.route(re.compile(r"/component_server"), hold)
    page.goto(f"{board.address}?tab=runs&run=asked-again")
    expect(page.locator("#header .facts")).to_contain_text("CPU", timeout=40_000)
    expect(page.locator("#runs .run-side h2")).to_have_text("asked-again", timeout=40_000)
    assert len(held) == 2


def test_a_killed_worker_is_a_failed_run_with_its_cause(
    board: Board, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    begin(board, "killed", 1000)
    open_run(page, board, "killed")
    wait_for(lambda: step_of(board, "killed") > 3, "some steps")
    board.processes("killed")[0].kill()
    expect(page.locator("#runs .badge")).to_contain_text("failed")
    expect(page.locator("#runs .trouble")).to_contain_text("signal 9")
    expect(page.locator("#runs .trouble")).to_contain_text("memory")


def test_shim_and_worker_killed_is_lost_and_resume_goes_on(
    board: Board, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    monkeypatch.setenv("FAKE_CHECKPOINT_EVERY", "10")
    begin(board, "lost", 60)
    open_run(page, board, "lost")
    wait_for(lambda: step_of(board, "lost") > 22, "a second checkpoint")
    for process in reversed(board.processes("lost")):
        process.kill()
    expect(page.locator("#runs .badge")).to_contain_text("lost")
    page.locator("#runs [data-action=resume]").click()
    dialog = page.locator("#runs .dialog")
    expect(dialog).to_contain_text("checkpoint-20")
    dialog.locator(".yes").click()
    wait_for(lambda: ended(board, "lost"), "the resumed run to end")
    expect(page.locator("#runs .badge")).to_contain_text("finished")
    log = MetricsLog(board.folder("lost").metrics_file)
    log.poll()
    assert log.points("loss")[0] == list(range(1, 61)), "the resumed course joins the one before without a seam"


def test_the_queue_goes_on_with_no_server(board: Board, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    for name in ("first", "second", "third"):
        begin(board, name, 30)
    open_run(page, board, "third")
    expect(page.locator("#runs .badge")).to_contain_text("queued")
    board.kill()
    wait_for(lambda: (board.root / "saves/third/end.json").exists(), "the third run to end")
    board.start()
    page.reload()
    expect(page.locator("#runs .run-list .state.finished")).to_have_count(3)


def test_stop_pause_resume_and_remove_from_the_page(board: Board, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    begin(board, "handled", 2000)
    open_run(page, board, "handled")
    wait_for(lambda: step_of(board, "handled") > 2, "some steps")
    page.locator("#runs [data-action=save_now]").click()
    wait_for(lambda: any(board.folder("handled").path.glob("checkpoint-*")), "a checkpoint on request")
    page.locator("#runs [data-action=pause]").click()
    expect(page.locator("#runs .badge")).to_contain_text("paused")
    assert board.supervisor.job("handled").held
    page.locator("#runs [data-action=resume]").click()
    expect(page.locator("#runs .badge")).to_contain_text("running")
    page.locator("#runs [data-action=stop_save]").click()
    expect(page.locator("#runs .badge")).to_contain_text("stopped")
    page.locator("#runs [data-action=remove]").click()
    expect(page.locator("#runs .dialog")).to_contain_text("Remove handled")
    page.locator("#runs .dialog .yes").click()
    expect(page.locator("#runs .run-list li")).to_have_count(0)
    assert not board.folder("handled").path.exists()


def test_settings_of_a_run_go_back_into_the_form(board: Board, page: Page) -> None:
    begin(board, "model-run", 3)
    wait_for(lambda: ended(board, "model-run"), "the run to end")
    open_run(page, board, "model-run")
    page.locator("#runs [data-action=clone]").click()
    expect(page.locator("#field-model-path input")).to_have_value("models/x")
    expect(page.locator("#command pre")).to_contain_text("optimisation.max_steps=3")
    assert board.supervisor.job("model-run").state is State.FINISHED


def test_the_address_is_the_state_and_back_works(board: Board, page: Page) -> None:
    for name in ("one", "two"):
        begin(board, name, 2)
        wait_for(lambda name=name: ended(board, name), f"{name} to end")
    open_run(page, board, "one")
    page.locator("#runs [data-run=two]").click()
    expect(page.locator("#runs .run-side h2")).to_have_text("two")
    page.go_back()
    expect(page.locator("#runs .run-side h2")).to_have_text("one")
    page.locator("#runs [data-view=log]").click()
    assert "view=log" in page.url
    page.reload()
    expect(page.locator("#runs .view pre")).to_be_visible()
