"""The Export tab with a real model: the wizard to a merged model and to a GGUF file, refusals, and cancelling."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from studio.config.io import parse
from studio.runs.states import State
from tests.browser.conftest import Board, Watch, new_page, wait_for
from tests.conftest import write_dataset

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def export_board(tmp_path: Path, serving_workspace: Path) -> Iterator[Board]:
    """A board over a workspace with the tiny model and a finished run of it."""
    shutil.copytree(serving_workspace, tmp_path, dirs_exist_ok=True)
    (tmp_path / "data").mkdir()
    write_dataset(tmp_path, "chat", [{"instruction": "Who are you?", "output": "I am Lumen, a small model."}])
    run = parse({"model": {"path": "models/tiny"}, "data": {"datasets": ["chat"]}})
    (tmp_path / "saves/one/config.yaml").write_text(yaml.safe_dump(run.model_dump(mode="json")), encoding="utf-8")
    board = Board(tmp_path, fake=False)
    board.start()
    yield board
    board.kill()
    board.kill_runs()


def begin(page: Page, step: int) -> None:
    """Open the wizard for the run, as the button of the Runs tab does, and go to a step (from 1)."""
    page.evaluate("studio.openExport('saves/one')")
    expect(page.locator(".ex-offer.chosen")).to_have_text("onetiny · lora · sft")
    # The answer about the chosen subject draws the steps anew; the way on is free behind it.
    expect(page.locator(".ex-step.open .next")).to_be_enabled()
    page.locator(f".ex-step[data-step='{step - 1}'] h3 button").click()
    expect(page.locator(f".ex-step.open[data-step='{step - 1}']")).to_be_visible()


def next_step(page: Page) -> None:
    page.locator(".ex-step.open .next").click()


def name_of(page: Page) -> str:
    """The export that is open."""
    expect(page.locator(".ex-one h2")).to_be_visible()
    return page.locator(".ex-one h2").inner_text()


def test_from_the_wizard_to_a_verified_model(browser: Browser, export_board: Board, watch: Watch) -> None:
    with new_page(browser, export_board, watch) as page:
        page.locator("#tabs button[data-tab-id=export]").click()
        expect(page.locator(".ex-step.open .next")).to_be_disabled()
        page.locator(".ex-offer", has_text="one").click()
        expect(page.locator(".ex-step.open .ex-findings")).to_contain_text("models/tiny → saves/one")
        next_step(page)
        expect(page).to_have_url(f"{export_board.address}?tab=export&step=2")
        page.locator(".segments label", has_text="Merged model").click()
        next_step(page)
        # A folder that is there is not overwritten unasked.
        (export_board.root / "exports" / "mine").mkdir(parents=True)
        page.locator("[data-key='destination.folder']").fill("exports/mine")
        expect(page.locator(".ex-step.open .ex-findings .fault")).to_contain_text("exports/mine exists already")
        expect(page.locator(".ex-step.open .next")).to_be_disabled()
        expect(page.locator(".ex-step[data-step='4'] h3 button")).to_be_disabled()
        page.locator("[data-key='destination.folder']").fill("exports/first")
        expect(page.locator(".ex-step.open .ex-findings")).to_have_text("✓exports/first")
        next_step(page)
        expect(page.locator(".ex-step.open .ex-findings .fault")).to_have_count(0)
        expect(page.locator(".ex-step.open .ex-findings li")).to_have_count(4)
        page.go_back()
        expect(page.locator(".ex-step.open")).to_have_attribute("data-step", "2")
        page.go_forward()
        expect(page.locator(".ex-step.open")).to_have_attribute("data-step", "3")
        next_step(page)
        expect(page.locator(".ex-command pre")).to_contain_text("destination.folder=exports/first")
        page.locator(".start").locator("visible=true").click()
        name = name_of(page)
        expect(page).to_have_url(f"{export_board.address}?tab=export&export={name}")
        expect(page.locator(".ex-verdict.good")).to_be_visible(timeout=90_000)
        assert (export_board.root / "exports/first/model.safetensors").is_file()
        expect(page.locator(".ex-result")).to_contain_text("studio serve model.path=exports/first")
        expect(page.locator(".ex-result tr", has_text="Same answers")).to_contain_text("of 3")
        # From here it can be loaded at once.
        page.locator("[data-chat]").click()
        expect(page.locator("#chat [data-key='model.path']")).to_have_value("exports/first")
        page.go_back()
        expect(page.locator(".ex-list .chosen b")).to_have_text(name)
    assert watch.errors == [] and watch.foreign == []


def test_from_a_run_to_a_gguf_file_without_comparison(browser: Browser, export_board: Board, watch: Watch) -> None:
    with new_page(browser, export_board, watch) as page:
        begin(page, 2)
        page.locator(".segments label", has_text="GGUF").click()
        next_step(page)
        next_step(page)
        page.locator(".ex-step.open summary").first.click()
        page.locator("[data-key='verification.compare']").uncheck()
        expect(page.locator(".ex-step.open .ex-findings")).to_contain_text("It will not be compared")
        next_step(page)
        page.locator(".start").locator("visible=true").click()
        name = name_of(page)
        expect(page.locator(".ex-verdict.not-compared")).to_be_visible(timeout=90_000)
        expect(page.locator(".ex-files")).to_contain_text(f"{name}-q8_0.gguf")
        expect(page.locator(".ex-uses")).to_contain_text(f"ollama create {name} -f Modelfile")
        assert (export_board.root / "exports" / name / "Modelfile").is_file()
        # What was exported by somebody else meanwhile is told apart from what this run has made.
        (export_board.root / "exports" / name / "export.json").write_text(json.dumps({"name": "other"}))
        expect(page.locator(".ex-gone")).to_be_visible()
    assert watch.errors == [] and watch.foreign == []


def test_cancelling_in_the_midst_leaves_nothing(browser: Browser, export_board: Board, watch: Watch) -> None:
    with new_page(browser, export_board, watch) as page:
        begin(page, 5)
        page.locator(".start").locator("visible=true").click()
        name = name_of(page)
        exports = export_board.root / "exports"
        wait_for(lambda: exports.is_dir() and any(exports.iterdir()), "the draft of the export")
        page.locator("[data-do=stop]").click()
        expect(page.locator(".ex-trouble")).to_contain_text("Nothing was put in place", timeout=60_000)
        assert export_board.supervisor.job(name).state is State.STOPPED
        assert list(exports.iterdir()) == []
        page.locator("[data-do=remove]").click()
        page.locator(".ex-dialog .yes").click()
        expect(page.locator(".ex-offer").first).to_be_visible()
        expect(page.locator(".ex-list .none")).to_be_visible()
    assert watch.errors == [] and watch.foreign == []
