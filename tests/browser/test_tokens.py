"""What the real helper process tells a page, with a tiny model: Tokens, Template, and what rewards would give."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Board, Watch, new_page, wait_for
from tests.conftest import QUESTIONS, write_dataset

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def tokens_board(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Iterator[Board]:
    """A board with one tiny model, one dataset of 40 rows, and sums."""
    tmp_path = tmp_path_factory.mktemp("tokens")
    (tmp_path / "data").mkdir()
    sums = json.loads((Path(__file__).parents[2] / "data" / "sums.json").read_text(encoding="utf-8"))
    write_dataset(tmp_path, "sums", sums[:8])
    rows = [{"instruction": f"{question} {n}", "output": answer} for n in range(5) for question, answer in QUESTIONS]
    write_dataset(tmp_path, "talk", [dict(row) for row in rows])
    shutil.copytree(tiny_model_folder, tmp_path / "models" / "tiny")
    board = Board(tmp_path)
    board.start()
    yield board
    board.kill()


def helpers(board: Board) -> list[psutil.Process]:
    """The helper processes of the board."""
    assert board.process is not None
    children = psutil.Process(board.process.pid).children()
    return [child for child in children if "studio.tasks.inspect" in child.cmdline()]


def choose_the_tiny_model(page: Page) -> None:
    page.locator("[data-path='model.path']").fill("models/tiny")
    page.keyboard.press("Enter")


def pick(page: Page, field: str, word: str) -> None:
    """An entry of a list on the Train tab."""
    page.locator(f"#{field} input").click()
    page.locator("[role=listbox] [role=option]").filter(has_text=word).first.click()
    page.keyboard.press("Escape")


def test_rewards_are_tried_before_the_start(browser: Browser, tokens_board: Board, watch: Watch) -> None:
    with new_page(browser, tokens_board, watch) as page:
        panel = page.locator(".panel-rewards")
        expect(panel).to_be_hidden()
        page.locator("#field-model-path input").fill("models/tiny")
        page.locator("#field-stage-type select").select_option("grpo")
        pick(page, "field-data-datasets", "sums")
        pick(page, "field-stage-grpo-rewards", "exact_answer")
        expect(page.locator("#command pre")).to_contain_text("stage.rewards=[exact_answer]")
        panel.get_by_text("Try the rewards").click()
        # Right answers get the point, those of other rows do not.
        expect(panel.locator("tbody tr")).to_have_text(["exact_answer10"], timeout=60_000)
        expect(panel).to_contain_text("Nothing looks amiss.")
        expect(panel.locator("article")).to_have_count(8)
        expect(panel.locator("article").first.locator(".points b")).to_have_text(["1", "0"])
        assert panel.evaluate("box => box.scrollWidth <= box.clientWidth"), "nothing sticks out of the column"
    assert (watch.errors, watch.foreign) == ([], [])


def test_tokens_are_seen_counted_and_cut(browser: Browser, tokens_board: Board, watch: Watch) -> None:
    with new_page(browser, tokens_board, watch) as page:
        pick(page, "field-data-datasets", "talk")
        expect(page.locator("#command pre")).to_contain_text("talk")
        page.locator(".see-tokens").click()
        expect(page).to_have_url(re.compile("dataset=talk&view=tokens"))
        choose_the_tiny_model(page)
        # One row: what is trained on is told by more than a colour, and each token by its id.
        expect(page.locator(".token-facts")).to_contain_text("row 1 of data/talk.json")
        trained = page.locator(".tokens .token.is-trained")
        assert "".join(trained.all_inner_texts()).replace("·", " ") == "I am Lumen, a small model.<|im_end|>"
        trained.first.hover()
        expect(page.locator(".token-reading")).to_contain_text(re.compile(r'id \d+ · "I.*" · assistant · trained on'))
        page.locator(".tokens").press("Home")
        expect(page.locator(".token-reading")).to_contain_text('"<|im_start|>"')
        page.locator(".tokens").press("PageDown")
        expect(page.locator(".token-facts")).to_contain_text("row 2 of")
        # The whole: counted once, then every cutoff is answered from the counts.
        page.locator(".scan").click()
        expect(page.locator(".token-sentence")).to_contain_text("40 rows", timeout=60_000)
        expect(page.locator(".token-sentence")).to_contain_text("No row is longer than 1,024 tokens")
        expect(page.locator(".data-list")).to_contain_text("tokens")
        page.locator("[data-path='data.cutoff_len']").fill("24")
        page.keyboard.press("Enter")
        expect(page.locator(".token-sentence")).to_contain_text("longer than 24 tokens and are cut")
        expect(page.locator(".tokens .of-cutoff")).to_have_text("cutoff 24")
        before = page.locator(".token-sentence").inner_text()
        line = page.locator(".lengths .cutoff .grip")
        line.scroll_into_view_if_needed()
        place = line.bounding_box()
        assert place is not None
        page.mouse.move(place["x"] + 9, place["y"] + 40)
        page.mouse.down()
        page.mouse.move(place["x"] + 69, place["y"] + 40, steps=6)
        expect(page.locator(".token-sentence")).not_to_have_text(before)
        page.mouse.up()
        expect(page.locator("[data-path='data.cutoff_len']")).not_to_have_value("24")
        # Packed rows and their borders.
        page.locator(".token-choice details summary").click()
        page.locator("[data-path='data.cutoff_len']").fill("100")
        page.locator("[data-path='data.packing']").check()
        expect(page.locator(".token-sentence")).to_contain_text("Packed into")
        page.locator(".as-packed input").check()
        expect(page.locator(".tokens .of-row").nth(1)).to_contain_text("row")
        try_a_template(page, tokens_board)
        # The helper is one, and it goes with the board.
        (helper,) = helpers(tokens_board)
        tokens_board.kill()
        wait_for(lambda: not helper.is_running(), "the helper to end with its board")
    assert watch.foreign == []


def try_a_template(page: Page, board: Board) -> None:
    """Turns that are typed, and another template than the tokenizer's own; in Chinese."""
    page.goto(f"{board.address}?tab=data&view=template&lang=zh")
    choose_the_tiny_model(page)
    expect(page.locator(".template-marks")).to_contain_text("<|im_end|>")
    expect(page.locator(".template-findings")).to_contain_text("模板没有工具的位置")
    page.locator(".template-turn textarea").fill("Hello there")
    expect(page.locator(".template-seen .tokens")).to_contain_text("Hello·there")
    expect(page.locator(".template-seen .tokens")).to_contain_text("<|im_start|>assistant")
    page.locator(".add-turn").click()
    page.locator(".template-turn textarea").nth(1).fill("Yes.")
    trained = page.locator(".template-seen .tokens .token.is-trained")
    expect(trained.last).to_have_text("<|im_end|>")
    assert "".join(trained.all_inner_texts()) == "Yes.<|im_end|>"
    page.locator("[data-path='model.chat_template']").fill("llama3")
    page.keyboard.press("Enter")
    expect(page.locator(".template-findings")).to_contain_text("llama3 与分词器自带模板的输出不同")
