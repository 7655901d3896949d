"""A job that writes data, from the form to the dataset: started, reviewed, edited, undone and added on the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from studio.config.workspace import Workspace
from studio.data.reading import read_datasets
from tests.browser.conftest import Board, Watch, new_page
from tests.fake_endpoint import FakeEndpoint

pytestmark = pytest.mark.browser

KEY = "sk-never-on-a-page-815"


@pytest.fixture
def real_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """A board with real workers; the key is in its environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    root = Path(__file__).parents[2]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "general.json").write_bytes((root / "data" / "general.json").read_bytes())
    (tmp_path / "dataset_info.json").write_text('{"general": {"file_name": "general.json"}}', encoding="utf-8")
    made = Board(tmp_path, fake=False)
    made.start()
    yield made
    made.kill()
    made.kill_runs()


def test_rows_are_written_reviewed_and_become_a_dataset(browser: Browser, real_board: Board, watch: Watch) -> None:
    with FakeEndpoint() as endpoint, new_page(browser, real_board, watch) as page:
        page.get_by_role("tab", name="Data", exact=True).click()
        page.locator(".data-list [data-view=review]").click()
        start_a_job(page, endpoint.base_url)
        expect(page.locator(".filters [data-state=pending] .number")).to_have_text("7")
        assert len(endpoint.requests) == 3

        rows = page.locator(".made-row")
        rows.nth(0).locator("[data-do=accept]").click()
        expect(rows).to_have_count(6)
        page.keyboard.press("r")  # the next row has taken its place, and the focus
        expect(rows).to_have_count(5)
        page.keyboard.press("u")
        expect(rows).to_have_count(6)
        rows.nth(1).locator("[data-do=edit]").click()
        rows.nth(1).locator("textarea").nth(1).fill("An answer of my own.")
        rows.nth(1).locator("[data-do=save_accept]").click()
        expect(page.locator(".filters [data-state=accepted] .number")).to_have_text("2")
        rows.nth(0).locator("input[type=checkbox]").check()
        rows.nth(1).locator("input[type=checkbox]").check()
        page.get_by_role("button", name="Reject 2 selected").click()
        expect(page.locator(".filters [data-state=rejected] .number")).to_have_text("2")

        page.fill(".adding input", "made_here")
        page.get_by_role("button", name="Add", exact=True).nth(1).click()
        expect(page.locator(".data-list [data-dataset=made_here]")).to_contain_text("2 rows")
        assert KEY not in page.content()
        assert watch.errors == [], "before a reload breaks off what is under way, which Chromium reports"

        run = page.locator(".made-queue h3").inner_text()
        page.reload()  # the address says which job is open
        expect(page.locator(".made-queue h3")).to_have_text(run)
        expect(page.locator(".filters [data-state=added] .number")).to_have_text("2")
    examples = read_datasets(Workspace(real_board.root), ["made_here"]).examples
    assert examples[1].messages[1].content == "An answer of my own." and len(examples) == 2
    assert watch.foreign == []


def start_a_job(page: Page, base_url: str) -> None:
    """Fill the form, see a fault at its field and the command, and start."""
    begin = page.locator(".made-summary .begin")
    expect(begin).to_be_disabled()
    page.fill("[data-key='endpoint.base_url']", "nowhere")
    expect(page.locator("[data-field='endpoint.base_url'] .said")).to_contain_text("Write the address up to /v1")
    page.fill("[data-key='endpoint.base_url']", base_url)
    page.fill("[data-key='endpoint.model']", "fake")
    page.locator(".segments").get_by_text("From documents").click()
    expect(page.locator("[data-field='source.documents.paths'] input")).to_be_visible()
    page.locator(".segments").get_by_text("From seed tasks").click()
    page.select_option("[data-key='source.seeds.dataset']", "general")
    page.fill("[data-key='rows.count']", "7")
    expect(begin).to_be_enabled()
    expect(page.locator(".made-summary .sentence")).to_contain_text("at least 3 requests")
    expect(page.locator(".made-summary pre")).to_have_text(
        re.compile(r"studio data generate.*rows\.count=7", re.DOTALL)
    )
    begin.click()
    expect(page.locator(".made-queue .badge")).to_contain_text("finished")
