"""The Evaluate tab with a real model: start, watch rows come over a killed server, read scores and rows, take files."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Download, Locator, Page, expect

from studio.runs.evaluation_results import predictions
from tests.browser.conftest import Board, Watch, new_page, wait_for
from tests.conftest import QUESTIONS, write_dataset

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def evaluating_board(tmp_path: Path, serving_workspace: Path) -> Iterator[Board]:
    """A board over a workspace with the tiny model, two adapters of it, and a dataset in two languages."""
    shutil.copytree(serving_workspace, tmp_path, dirs_exist_ok=True)
    (tmp_path / "data").mkdir()
    pairs = [*QUESTIONS[:5], ("你是谁？", "我是一个小模型。")]
    write_dataset(tmp_path, "talk", [{"instruction": ask, "input": "", "output": answer} for ask, answer in pairs])
    board = Board(tmp_path, fake=False)
    board.start()
    yield board
    board.kill()
    board.kill_runs()


def add(form: Locator, key: str, *entries: str) -> None:
    """Type entries into a list, each taken over by Enter."""
    box = form.locator(f"[data-field='{key}'] input")
    for entry in entries:
        box.fill(entry)
        box.press("Enter")
        expect(form.locator(f"[data-field='{key}'] [data-drop='{entry}']")).to_be_visible()
    box.press("Escape")


def empty(form: Locator, key: str) -> None:
    """Take every entry out of a list that has some."""
    chips = form.locator(f"[data-field='{key}'] .chip")
    expect(chips).not_to_have_count(0)
    for left in reversed(range(chips.count())):
        chips.last.locator("button").click()
        expect(chips).to_have_count(left)


def start(page: Page, board: Board) -> str:
    """Fill the form of a new evaluation, start it, and return its name."""
    page.goto(board.address + "?tab=evaluate")
    form = page.locator(".ev-form")  # with no evaluation yet, the form of a new one is what the tab opens with
    expect(form.locator(".start")).to_be_disabled()
    form.locator("[data-key='model.path']").fill("models/tiny")
    add(form, "candidates.runs", "saves/one")
    add(form, "questions.datasets", "talk")
    form.locator("[data-key='decoding.max_new_tokens']").fill("120")
    form.locator("[data-section=decoding] summary").click()
    form.locator("[data-key='decoding.batch_size']").fill("1")  # so that rows come one by one
    empty(form, "scores.names")
    add(form, "scores.names", "rouge_l", "chrf")
    expect(form.locator("pre")).to_contain_text("'candidates.runs=[saves/one]'")
    form.locator(".start").click()
    expect(page.locator(".ev-head .state")).to_be_visible()
    return page.locator(".ev-head h2").inner_text()


def taken(page: Page, what: str) -> Path:
    with page.expect_download() as coming:
        page.locator(f"[data-file={what}]").click()
    found: Download = coming.value
    return found.path()


def test_from_the_form_to_the_report(browser: Browser, evaluating_board: Board, watch: Watch) -> None:
    board = evaluating_board
    with new_page(browser, board, watch) as page:
        name = start(page, board)
        expect(page.locator(".ev-latest li").first).to_be_visible(timeout=60_000)
        # The server of the page dies: the evaluation goes on, and the same address shows it again.
        worker = board.processes(name)[0]
        board.kill()
        done = len(predictions(board.folder(name).path)[0])
        # The tiny model may have written its last answer in this very moment.
        more = lambda: len(predictions(board.folder(name).path)[0]) > done or board.folder(name).end().state  # noqa: E731
        wait_for(more, "answers without a server")
        board.start()
        page.reload()
        expect(page.locator(".ev-head .state.finished")).to_be_visible(timeout=60_000)
        assert board.supervisor.job(name).attempt == 1 and not worker.is_running()
        bodies = page.locator(".ev-table tbody")
        expect(bodies).to_have_count(4)  # two scores, loss and perplexity
        loss = page.locator("tbody[data-score=loss]")
        expect(loss.locator(".who")).to_have_text(["base (untuned)", "one"])
        expect(loss.locator(".ev-verdict")).to_contain_text("interval")
        expect(loss.locator("svg .whisker")).to_have_count(2)
        read_rows(page)
        page.locator(".evaluate nav [data-view=scores]").click()
        assert {row["score"] for row in csv.DictReader(taken(page, "scores").open(encoding="utf-8-sig"))} == {
            "rouge_l", "chrf", "loss", "perplexity",
        }  # fmt: skip
        assert "<script" not in taken(page, "report").read_text(encoding="utf-8")
        page.locator("[data-rescore]").click()
        empty(page.locator(".ev-dialog"), "scores.names")
        add(page.locator(".ev-dialog"), "scores.names", "exact_match")
        page.locator(".ev-dialog .yes").click()
        expect(page.locator("tbody[data-score=exact_match]")).to_be_visible(timeout=60_000)
        expect(page.locator("tbody[data-score=chrf]")).to_have_count(0)
    assert watch.foreign == []


def read_rows(page: Page) -> None:
    """Order, search, one row with its marks, its neighbours by keys; all of it in the address."""
    page.locator(".evaluate nav [data-view=rows]").click()
    rows = page.locator(".ev-found tbody tr")
    expect(rows).to_have_count(6)
    page.locator("[data-place=order]").select_option("worst")
    page.locator("[data-place=by]").select_option("loss")
    page.locator("[data-place=of]").select_option("base")
    expect(page).to_have_url(re.compile(r"order=worst&by=loss&of=base"))
    expect(page.locator(".ev-found caption")).to_have_text("Loss")

    def losses() -> list[float]:
        return [float(text) for text in rows.locator("td:nth-child(3)").all_inner_texts()]

    wait_for(lambda: losses() == sorted(losses(), reverse=True), "the worst first: less loss is better")
    rows.first.locator("button").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".ev-answers article")).to_have_count(2)
    expect(page.locator(".ev-row-head .where")).to_contain_text("1 of 6")
    expect(page.locator(".ev-answers ins").first).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".ev-row-head .where")).to_contain_text("2 of 6")
    address = page.url
    page.reload()
    expect(page.locator(".ev-row-head .where")).to_contain_text("2 of 6")
    assert page.url == address
    page.go_back()
    expect(page.locator(".ev-row-head .where")).to_contain_text("1 of 6")
    page.keyboard.press("Escape")
    page.locator("[data-place=find]").fill("小模型")
    expect(rows).to_have_count(1)
    page.locator("[data-place=find]").fill("")
    expect(rows).to_have_count(6)


def test_a_trained_run_is_evaluated_from_its_page(browser: Browser, evaluating_board: Board, watch: Watch) -> None:
    board = evaluating_board
    tree = {"model": {"path": "models/tiny"}, "data": {"datasets": ["talk"], "validation_datasets": ["talk"]}}
    board.folder("one").write_config(json.dumps(tree))
    with new_page(browser, board, watch) as page:
        page.evaluate("studio.openRun('one')")
        page.locator("[data-action=evaluate]").click()
        form = page.locator(".ev-form")
        expect(form.locator("[data-key='model.path']")).to_have_value("models/tiny")
        expect(form.locator("[data-key='candidates.runs']")).to_have_value("saves/one")
        expect(form.locator("[data-key='questions.datasets']")).to_have_value("talk")
        expect(form.locator(".start")).to_be_enabled()
        assert "new=saves%2Fone" in page.url
    assert (watch.errors, watch.foreign) == ([], [])
