"""The Train tab as a person uses it: choose, read what will run, start."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from studio.config.io import load_config, override, parse
from tests.browser.conftest import Board, Watch, ended, wait_for

pytestmark = pytest.mark.browser


def choose(page: Page, field: str, word: str) -> None:
    """Pick an entry of a list by typing a part of it."""
    box = page.locator(f"#{field} input")
    box.click()
    box.fill(word)
    page.locator("[role=listbox] [role=option]").filter(has_text=word).first.click()
    page.keyboard.press("Escape")


def write(page: Page, field: str, text: str) -> None:
    page.locator(f"#{field} input").fill(text)


def command(page: Page) -> list[str]:
    return shlex.split(page.locator("#command pre").inner_text().replace("\\\n", " "))


def ready(page: Page) -> None:
    """A form that can be started."""
    choose(page, "field-data-datasets", "general")
    expect(page.locator("#start")).to_be_enabled()


def test_a_newcomer_starts_a_run_in_four_clicks(board: Board, page: Page, watch: Watch) -> None:
    expect(page.locator("#summary")).to_contain_text("Choose at least one dataset")
    expect(page.locator("#start")).to_be_disabled()
    ready(page)
    expect(page.locator("#summary .sentence")).to_contain_text("LoRA rank 16 on SmolLM2-135M-Instruct")
    expect(page.locator("#summary .place")).to_contain_text("Starts at once on cpu")
    page.locator("#start").click()
    expect(page.locator("#runs .run-side h2")).to_contain_text("smollm2-135m-lora-")
    assert "tab=runs" in page.url and "run=smollm2" in page.url
    name = page.locator("#runs .run-side h2").inner_text()
    wait_for(lambda: ended(board, name), "the run to end")
    expect(page.locator("#runs .badge")).to_contain_text("finished")
    assert watch.errors == [] and watch.foreign == []


def test_the_preview_is_what_runs(board: Board, page: Page) -> None:
    ready(page)
    write(page, "field-name", "previewed")
    write(page, "field-method-lora-rank", "4")
    write(page, "field-optimisation-learning_rate", "3e-4")
    for text in ("name=previewed", "method.rank=4", "optimisation.learning_rate=0.0003"):
        expect(page.locator("#command pre")).to_contain_text(text)
    words = command(page)
    page.locator("#start").click()
    expect(page.locator("#runs .run-side h2")).to_have_text("previewed")
    written = load_config(board.folder("previewed").config_file)
    assert parse(override({}, words[words.index("train") + 1 :])) == written
    assert written.optimisation.learning_rate == 3e-4


def test_a_fault_stands_at_its_field_and_blocks(page: Page) -> None:
    ready(page)
    write(page, "field-method-lora-rank", "zero")
    field = page.locator("#field-method-lora-rank")
    expect(field).to_have_class(re.compile("faulty"))
    expect(field).to_contain_text("'zero' is not a whole number")
    expect(page.locator("#start")).to_be_disabled()
    write(page, "field-method-lora-rank", "8")
    expect(field).not_to_have_class(re.compile("faulty"))
    expect(page.locator("#start")).to_be_enabled()


def test_only_what_applies_is_shown_and_changes_are_counted(page: Page) -> None:
    expect(page.locator("#field-method-lora-rank")).to_be_visible()
    page.locator("#field-method-type select").select_option(label="Freeze")
    expect(page.locator("#field-method-lora-rank")).to_be_hidden()
    expect(page.locator("#field-method-freeze-trainable_layers")).to_be_visible()
    fold = page.locator("#fold-cadence")
    fold.locator("summary").click()
    write(page, "field-cadence-save_steps", "7")
    expect(fold).to_contain_text("1 changed: Save every (steps)")


def test_lists_are_chosen_with_the_keys_alone(page: Page) -> None:
    box = page.locator("#field-data-datasets input")
    box.focus()
    page.keyboard.type("gen")
    expect(page.locator("[role=listbox] [role=option].active")).to_contain_text("general")
    page.keyboard.press("Enter")
    expect(page.locator("#field-data-datasets .chip")).to_have_text(["general×"])
    page.keyboard.press("Escape")
    expect(page.locator("[role=listbox]")).to_have_count(0)
    expect(page.locator("#command pre")).to_contain_text("data.datasets=[general]")
    page.keyboard.press("Backspace")
    expect(page.locator("#field-data-datasets .chip")).to_have_count(0)
    expect(page.locator("#start")).to_be_disabled()
    page.get_by_label("Folder or id").focus()  # a label leads to its field
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert "SmolLM2-135M-Instruct" not in page.locator("#field-model-path input").input_value()


def test_a_pair_that_cannot_work_is_marked_before_and_explained_behind_the_choice(page: Page) -> None:
    ready(page)
    bits, method = page.locator("#field-quantization-type"), page.locator("#field-method-type")
    bits.locator("select").select_option("4bit")
    refused = method.locator("option.refused")
    expect(refused.filter(has_text="Full")).to_have_attribute("title", re.compile("cannot be trained directly"))
    expect(refused.filter(has_text=re.compile("LoRA$"))).to_have_count(0)
    method.locator("select").select_option("full")
    expect(bits).to_contain_text("cannot be trained directly")
    expect(page.locator("#start")).to_be_disabled()
    page.locator("#summary .notices .fault button").click()
    expect(bits.locator("select")).to_be_focused()
    bits.locator("select").select_option("none")
    expect(page.locator("#start")).to_be_enabled()
    expect(method.locator(".about")).to_have_text("Train every weight.")


def test_typing_asks_for_few_previews_and_the_last_one_counts(page: Page) -> None:
    ready(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or ""))
    box = page.locator("#field-name input")
    box.focus()
    page.keyboard.type("a-name-of-twenty-four-ch", delay=20)
    assert box.input_value() == "a-name-of-twenty-four-ch", "what is typed stays, whatever the server says meanwhile"
    expect(page.locator("#command pre")).to_contain_text("name=a-name-of-twenty-four-ch")
    assert 0 < sum("form.check" in body for body in asked) <= 8


def test_a_file_is_saved_and_loaded_again(page: Page, tmp_path: Path) -> None:
    ready(page)
    write(page, "field-method-lora-rank", "12")
    expect(page.locator("#command pre")).to_contain_text("method.rank=12")
    page.get_by_text("The same as a file").click()
    with page.expect_download() as download:
        page.locator("#save-yaml").click()
    file = tmp_path / "saved.yaml"
    download.value.save_as(file)
    assert load_config(file).method.rank == 12  # type: ignore[union-attr]
    file.write_text(file.read_text().replace("rank: 12", "rank: 24"))
    page.locator("#load-yaml input[type=file], input[type=file]").first.set_input_files(file)
    expect(page.locator("#field-method-lora-rank input")).to_have_value("24")
    bad = tmp_path / "bad.yaml"
    bad.write_text("method: {rank: nonsense}\n")
    page.locator("#load-yaml input[type=file], input[type=file]").first.set_input_files(bad)
    expect(page.locator(".studio-toast.bad")).to_contain_text("not a whole number")
    expect(page.locator("#field-method-lora-rank input")).to_have_value("24")


def test_an_existing_run_is_never_overwritten_unasked(board: Board, page: Page) -> None:
    ready(page)
    write(page, "field-name", "twice")
    page.locator("#start").click()
    wait_for(lambda: (board.root / "saves/twice/end.json").exists(), "the first run to end")
    page.locator("#tab-train-button").click()
    page.locator("#start").click()
    question = page.locator("#question")
    expect(question).to_contain_text("There is a run named twice already (finished")
    page.locator("#exists-cancel").click()
    expect(question).to_be_hidden()
    page.locator("#start").click()
    page.locator("#exists-rename").click()
    expect(page.locator("#runs .run-side h2")).to_have_text("twice-2")
    assert board.supervisor.job("twice").attempt == 1


def test_every_text_changes_with_the_language_and_the_address_keeps_it(board: Board, page: Page) -> None:
    page.goto(f"{board.address}?lang=zh")
    expect(page.locator("#tab-train-button")).to_have_text("训练")
    expect(page.locator("#start")).to_have_text("开始")
    assert "lang=zh" in page.url
    page.locator("#header select").select_option("en")
    expect(page.locator("#tab-train-button")).to_have_text("Train")


def test_nothing_sticks_out_on_a_telephone(board: Board, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for address in (board.address, f"{board.address}?tab=runs"):
        page.goto(address)
        page.wait_for_selector("#tabs")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # Tabs without room stand in a menu: an address opens them, and so does the menu.
    page.goto(f"{board.address}?tab=export")
    expect(page.locator("#tab-export")).to_be_visible()
    page.locator("#tabs .overflow-menu > button").click()
    page.locator("#tabs .overflow-dropdown").get_by_text("Chat").click()
    expect(page.locator("#tab-chat .composer")).to_be_visible()
    assert "tab=chat" in page.url
