"""The Data tab as a person uses it: from a file that somebody has to data that a model was trained on."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from studio.data.editing import Draft
from studio.data.registry import DatasetEntry, load_registry
from studio.runs.states import State
from tests.browser.conftest import Board, Watch, ended, new_page, wait_for

pytestmark = pytest.mark.browser

ROWS = 20  # on a page


def shop_csv(path: Path, rows: int = 40) -> Path:
    """Questions and answers under names that nobody can guess, one question missing."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "they_ask", "we_say"])
        for row in range(rows):
            asked = "" if row == 3 else f"Where is parcel {row}?"
            writer.writerow([row, asked, f"Parcel {row} is on its way."])
    return path


def open_tab(page: Page, board: Board, query: str = "") -> None:
    page.goto(f"{board.address}?tab=data{query}")
    page.wait_for_selector("#data .data-list li", state="attached")


def complaints(watch: Watch) -> list[str]:
    """Errors of the page, without those that Gradio reports of its own requests when a page is left for another."""
    return [text for text in watch.errors if not re.search("AbortError|Connection errored out", text)]


def edit(page: Page, row: int) -> None:
    """Open the form of the row at this position of the page."""
    item = page.locator("#data .rows > li").nth(row)
    item.hover()
    item.locator("[data-do=edit]").click()
    expect(page.locator("#data .row-form")).to_be_visible()


@pytest.fixture
def real_board(tmp_path: Path, tiny_model_folder: Path) -> Iterator[Board]:
    """A board whose runs are real trainings of a tiny model, with one dataset."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.jsonl").write_text('{"text": "a note"}\n', encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text('{"notes": {"file_name": "notes.jsonl", "formatting": "text"}}')
    shutil.copytree(tiny_model_folder, tmp_path / "models" / "tiny")
    board = Board(tmp_path, fake=False)
    board.start()
    yield board
    board.kill()
    board.kill_runs()


@pytest.mark.slow
def test_a_csv_is_uploaded_mapped_mended_split_seen_as_tokens_and_trained_on(
    browser: Browser, real_board: Board, watch: Watch, tmp_path: Path
) -> None:
    with new_page(browser, real_board, watch) as page:
        open_tab(page, real_board)
        page.locator("#data .list-tools .add").click()
        page.locator("#data .drop input[type=file]").set_input_files(shop_csv(tmp_path / "our shop.csv"))
        expect(page.locator("#data .head-of h3")).to_have_text("data/our-shop.csv")
        page.locator("#data select[data-column=they_ask]").select_option("prompt")
        page.locator("#data select[data-column=we_say]").select_option("response")
        expect(page.locator("#data .understood .verdict")).to_contain_text("1 of the first 40 rows cannot be used")
        expect(page.locator("#data .understood .faulty")).to_contain_text("'they_ask' is empty")
        page.locator("#data .finish input").fill("shop")
        page.locator("#data .finish button").click()
        expect(page.locator("#data header h2")).to_have_text("shop")
        assert "dataset=shop" in page.url

        expect(page.locator("#data .rows > li")).to_have_count(ROWS)
        expect(page.locator("#data .rows > li.faulty")).to_have_count(1)
        edit(page, 3)
        page.locator("#data .row-form [data-column=they_ask] textarea").fill("Where is parcel three?")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#data .rows > li.changed")).to_contain_text("Where is parcel three?")
        expect(page.locator("#data .draft-bar .text")).to_contain_text("1 changed")
        page.locator("#data .draft-bar .save").click()
        expect(page.locator(".studio-toast")).to_contain_text(["our-shop.v2.csv"])
        expect(page.locator("#data .draft-bar")).to_be_hidden()
        expect(page.locator("#data header .facts")).to_contain_text("2 versions")

        page.locator("#data nav [data-view=make]").click()
        split = page.locator("#data [data-what=split]")
        expect(split.locator(".outcome")).to_have_text("36 rows to train on, 4 held back")
        split.locator(".go").click()
        expect(split.locator(".note-box")).to_contain_text("shop_train: 36 rows written")

        page.locator("#data [data-dataset=shop_train]").click()
        page.locator("#data header .train").click()
        expect(page.locator("#command pre")).to_contain_text("data.datasets=[shop_train]")
        model = page.locator("#field-model-path input")
        model.click()
        page.keyboard.press("Control+a")
        page.keyboard.type("models/tiny")
        page.keyboard.press("Enter")
        page.locator("#field-name input").fill("trained")
        page.locator("#fold-optimisation > summary").click()
        page.locator("#field-optimisation-max_steps input").fill("4")
        expect(page.locator("#command pre")).to_contain_text("optimisation.max_steps=4")

        page.locator("#tab-data-button").click()
        page.locator("#data nav [data-view=tokens]").click()
        expect(page.locator("#data .tokens .is-trained").first).to_be_visible(timeout=60_000)
        text = page.locator("#data .tokens").inner_text()
        assert "parcel" in re.sub(r"[·⏎\n]", "", text).lower()
        expect(page.locator("#data .token-facts")).to_contain_text("row 1 of data/shop_train.jsonl")

        page.locator("#tab-train-button").click()
        page.locator("#start").click()
        expect(page.locator("#runs .run-side h2")).to_have_text("trained")
        wait_for(lambda: ended(real_board, "trained"), "the end of the training", 120)
        folder = real_board.folder("trained")
        assert real_board.supervisor.job("trained").state is State.FINISHED, folder.log_tail(2000)
    assert watch.foreign == []


def test_rows_are_removed_undone_searched_and_opened_by_an_address(board: Board, page: Page, watch: Watch) -> None:
    open_tab(page, board, "&dataset=general")
    rows = page.locator("#data .rows > li")
    expect(rows).to_have_count(ROWS)
    rows.nth(1).focus()
    page.keyboard.press("Delete")
    expect(page.locator("#data .rows > li.removed")).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(page.locator("#data .rows > li.removed")).to_have_count(0)
    page.locator("#data .after").click()
    expect(page.locator("#data .pager .where")).to_have_text("21–40 of 60")
    assert "row=20" in page.url
    page.reload()
    expect(page.locator("#data .pager .where")).to_have_text("21–40 of 60")
    edit(page, 0)
    page.locator("#data .row-form [data-column=output] textarea").fill("A purple answer.")
    page.locator("#data .row-form .strong").click()
    expect(page.locator("#data .rows > li.changed")).to_have_count(1)
    page.locator("#data .query").fill("purple")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("A purple answer.")
    assert Draft.open(board.supervisor.workspace, "general").count == 1, "a draft is the server's, not the page's"
    page.locator("#data [data-dataset=tales]").click()
    expect(page.locator("#data header h2")).to_have_text("tales")
    page.go_back()
    expect(page.locator("#data header h2")).to_have_text("general")
    expect(page.locator("#data .draft-bar")).to_contain_text("1 changed")
    # Removing asks first, and the file stays unless it is asked for too.
    page.locator("#data [data-dataset=tales]").click()
    expect(page.locator("#data header h2")).to_have_text("tales")
    page.locator("#data .forget").click()
    page.locator("#data .one > .dialog .no").click()
    page.locator("#data .forget").click()
    expect(page.locator("#data .one > .dialog")).to_contain_text("tales.jsonl")
    page.locator("#data .one > .dialog .yes").click()
    expect(page.locator("#data [data-dataset=tales]")).to_have_count(0)
    assert (board.root / "data" / "tales.jsonl").exists()
    assert not isinstance(load_registry(board.supervisor.workspace).get("tales"), DatasetEntry)
    page.locator("#tab-train-button").click()
    page.locator("#field-data-datasets input").click()
    offered = page.locator("[role=listbox] [role=option]")
    expect(offered.filter(has_text="general")).to_have_count(1)
    expect(offered.filter(has_text="tales")).to_have_count(0)
    assert complaints(watch) == [] and watch.foreign == []


def test_a_check_leads_to_its_rows_and_takes_them_out_as_one_step(board: Board, page: Page) -> None:
    rows = [{"instruction": f"Ask {row}?", "output": f"Answer {row}"} for row in range(30)]
    bad = json.dumps([*rows, rows[4], {"instruction": "Empty?", "output": ""}])
    (board.root / "data" / "general.json").write_text(bad)
    open_tab(page, board, "&dataset=general&view=checks")
    page.locator("#data .ask .strong").click()
    expect(page.locator("#data .verdict-line")).to_contain_text("1 of 32 rows cannot be used")
    expect(page.locator("#data [data-dataset=general] .mark.broken")).to_be_visible()
    duplicate = page.locator("#data [data-kind=duplicate]")
    duplicate.locator("[data-act=show]").click()
    expect(page.locator("#data .rows > li")).to_have_count(1)
    expect(page.locator("#data .finding")).to_contain_text("exact duplicate")
    page.go_back()
    page.locator("#data [data-kind=empty] li .link").click()
    expect(page.locator("#data .rows > li.faulty")).to_be_focused()
    page.locator("#data nav [data-view=checks]").click()
    page.locator("#data [data-act=all]").click()
    expect(page.locator("#data .draft-bar")).to_contain_text("1 removed")
    page.locator("#data .undo").click()
    expect(page.locator("#data .draft-bar .text")).to_have_text("All changes are undone.")


def test_what_a_file_says_is_shown_and_never_run(board: Board, page: Page, watch: Watch) -> None:
    evil = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    row = {"instruction": evil, "output": evil, evil: evil, "history": [[evil, evil]]}
    (board.root / "data" / "evil.json").write_text(json.dumps([row, {"instruction": evil}, evil]))
    tree = {f"evil {evil}": {"file_name": "evil.json"}, "bad": {"file_name": "evil.json", "formatting": evil}}
    (board.root / "dataset_info.json").write_text(json.dumps(tree))
    open_tab(page, board)
    for view in ("rows", "columns", "checks", "make"):
        page.locator(f"#data nav [data-view={view}]").click()
        page.wait_for_selector(f"#data .panel-{view} *", state="attached")
        if view == "rows":
            page.locator("#data [data-raw=yes]").click()
            edit(page, 0)
            page.keyboard.press("Escape")
        if view == "checks":
            page.locator("#data .ask .strong").click()
            expect(page.locator("#data .verdict-line")).to_be_visible()
    page.locator("#data .others summary").click()
    expect(page.locator("#data .others li")).to_contain_text("is unknown")
    page.locator("#data .list-tools .add").click()
    drop = "name => { const drop = new DataTransfer(); drop.items.add(new File(['a,b\\n1,2'], name)); return drop; }"
    page.dispatch_event("#data .panel-add", "drop", {"dataTransfer": page.evaluate_handle(drop, f"{evil}.csv")})
    expect(page.locator("#data .head-of h3")).to_contain_text("data/")
    page.locator("#data .by-path input").fill("data/evil.json")
    page.locator("#data .by-path button").first.click()
    expect(page.locator("#data .understood li").first).to_contain_text("<img src=x")
    assert page.locator("#data img, #data script").count() == 0
    assert page.title() != "run"
    assert complaints(watch) == [] and watch.foreign == []


def test_nothing_of_the_data_tab_sticks_out_on_a_telephone_in_chinese(board: Board, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for query in (
        "",
        "&view=add",
        *(f"&dataset=dialogues&view={view}" for view in ("rows", "columns", "checks", "make")),
    ):
        open_tab(page, board, f"&lang=zh{query}")
        if query:
            page.wait_for_selector("#data .view .panel *", state="attached")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, query
    expect(page.locator("#data nav .chosen")).to_have_text("制作")
