"""The Chat tab with a real model: load a base and two runs, compare their answers, keep the better one, unload."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Board, Watch, new_page, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def chat_board(tmp_path: Path, serving_workspace: Path) -> Iterator[Board]:
    """A board over a workspace with the tiny model and two adapters of it."""
    shutil.copytree(serving_workspace, tmp_path, dirs_exist_ok=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "dataset_info.json").write_text("{}", encoding="utf-8")
    board = Board(tmp_path, fake=False)
    board.start()
    yield board
    board.kill()
    board.kill_runs()


def test_from_loading_to_a_kept_row(browser: Browser, chat_board: Board, watch: Watch) -> None:
    with new_page(browser, chat_board, watch) as page:
        page.goto(chat_board.address + "?tab=chat")
        page.locator(".open-load").click()
        page.locator("[data-key='model.path']").fill("models/tiny")
        adapters = page.locator("[data-field='serving.adapters'] input")
        for adapter in ("saves/one", "saves/two"):
            adapters.fill(adapter)
            adapters.press("Enter")
        expect(page.locator(".load pre")).to_contain_text("'serving.adapters=[saves/one, saves/two]'")
        page.locator(".load .start").click()
        expect(page.locator(".servers .model")).to_have_text(["tiny", "one", "two"], timeout=60_000)
        name = page.locator(".servers b").inner_text()
        page.locator("[data-set=max_tokens]").fill("12")
        page.locator("[data-set=temperature]").fill("0")
        page.locator(".composer textarea").fill("Who are you?")
        page.keyboard.press("Enter")
        expect(page.locator(".answer")).to_have_count(3)
        expect(page.locator(".writing")).to_have_count(0)
        answers = [text.strip() for text in page.locator(".answer .said-words").all_inner_texts()]
        assert len(set(answers)) == 3, "base and adapters answer differently"
        # The server of the page dies: the conversation is in the browser, the model in a process of its own.
        chat_board.kill()
        chat_board.start()
        page.reload()
        expect(page.locator(".answer")).to_have_count(3)
        expect(page.locator(".servers .model")).to_have_count(3)
        page.locator("[data-do=difference]").click()
        expect(page.locator(".chat-shown tr")).to_have_count(4)
        expect(page.locator(".chat-shown")).to_contain_text("active")
        page.locator("[data-do=prompt]").click()
        expect(page.locator(".chat-shown .tokens")).to_contain_text("<|im_start|>")
        page.locator(".answer[data-model=one] [data-better]").click()
        page.locator(".chat-shown input").fill("liked")
        page.keyboard.press("Enter")
        expect(page.locator(".answer.better")).to_have_count(1)
        row = json.loads((chat_board.root / "data" / "liked.jsonl").read_text(encoding="utf-8"))
        assert row["messages"][-1]["content"] == "Who are you?"
        worker = chat_board.processes(name)[0]
        page.locator("[data-unload]").click()
        wait_for(lambda: not psutil.pid_exists(worker.pid), "the memory of the model to come back")
        expect(page.locator(".servers .none")).to_be_visible()


def test_a_model_that_is_not_there_fails_in_plain_words(browser: Browser, chat_board: Board, watch: Watch) -> None:
    with new_page(browser, chat_board, watch) as page:
        page.goto(chat_board.address + "?tab=chat")
        expect(page.locator(".send")).to_be_disabled()
        page.locator(".open-load").click()
        page.locator("[data-key='model.path']").fill("models/none")
        page.locator(".load .start").click()
        expect(page.locator(".chat-failed")).to_contain_text("There is no model folder models/none", timeout=60_000)
