"""The whole straight line with nothing faked: from a form through a trainer's process to a chart in the browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from studio.runs.metrics import MetricsLog
from studio.runs.states import State
from tests.browser.conftest import Board, Watch, ended, new_page, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STEPS = 240
LINE = re.compile(r"^M[\d. -]+L")  # the path of at least two points


@pytest.fixture
def real_board(tmp_path: Path, tiny_model_folder: Path) -> Iterator[Board]:
    """A board whose runs are real trainings of a tiny model."""
    root = Path(__file__).parents[2]
    shutil.copytree(root / "data", tmp_path / "data")
    shutil.copy(root / "dataset_info.json", tmp_path)
    shutil.copytree(tiny_model_folder, tmp_path / "models" / "tiny")
    board = Board(tmp_path, fake=False)
    board.start()
    yield board
    board.kill()
    board.kill_runs()


def fill_in(page: Page, name: str) -> None:
    """A short training of the tiny model with validation rows, checkpoints and a question."""
    model = page.locator("#field-model-path input")
    model.click()
    page.keyboard.press("Control+a")
    page.keyboard.type("models/tiny")
    page.keyboard.press("Enter")
    page.locator("#field-data-datasets input").click()
    page.locator("[role=listbox] [role=option]").filter(has_text="general").first.click()
    page.keyboard.press("Escape")
    texts = {
        "name": name,
        "data-validation_size": "0.1",
        "data-cutoff_len": "64",
        "optimisation-learning_rate": "5e-3",
    }
    for field, text in texts.items():
        page.locator(f"#field-{field} input").fill(text)
    folded = {
        "optimisation": {"optimisation-max_steps": str(STEPS)},
        "cadence": {"cadence-save_steps": "40", "cadence-eval_steps": "40"},
        "samples": {"samples-prompts": "Who are you?", "samples-max_new_tokens": "8"},
    }
    for fold, fields in folded.items():
        page.locator(f"#fold-{fold} > summary").click()
        for field, text in fields.items():
            page.locator(f"#field-{field}").locator("input, textarea").first.fill(text)
    expect(page.locator("#command pre")).to_contain_text(f"optimisation.max_steps={STEPS}")
    expect(page.locator("#command pre")).to_contain_text("samples.max_new_tokens=8")
    expect(page.locator("#start")).to_be_enabled()


def test_a_training_from_the_page_survives_everything(browser: Browser, real_board: Board, watch: Watch) -> None:
    with new_page(browser, real_board, watch) as page:
        fill_in(page, "real")
        page.locator("#start").click()
        expect(page.locator("#runs .run-side h2")).to_have_text("real")
        folder = real_board.folder("real")
        wait_for(lambda: folder.status().step > 10, "some steps of training")
        page.reload()
        expect(page.locator("#runs .run-side h2")).to_have_text("real")
        expect(page.locator("#runs .badge")).to_contain_text("running")
        real_board.kill()
        before = folder.status().step
        wait_for(lambda: folder.status().step > before, "the training to go on without a server")
        # Then the worker dies too: its run has failed, and goes on from its newest whole checkpoint.
        wait_for(lambda: (folder.path / "checkpoint-40" / "trainer_state.json").exists(), "a checkpoint")
        real_board.processes("real")[0].kill()
        real_board.start()
        page.reload()
        expect(page.locator("#runs .badge")).to_contain_text("failed", timeout=20_000)
        expect(page.locator("#runs .trouble")).to_contain_text("signal 9")
        page.locator("#runs [data-action=resume]").click()
        page.locator("#runs .dialog .yes").click()
        wait_for(lambda: real_board.supervisor.job("real").attempt == 2 and ended(real_board, "real"), "the end", 120)
        assert real_board.supervisor.job("real").state is State.FINISHED, folder.log_tail(2000)
        expect(page.locator("#runs .badge")).to_contain_text("finished")
        expect(page.locator("#runs .run-notices")).to_contain_text("parameters trained")
        for figure in ("loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second", "memory_process_peak"):
            expect(page.locator(f"[data-figure={figure}] path.curve").first).to_have_attribute("d", LINE)
        page.locator("#runs [data-view=samples]").click()
        expect(page.locator("#runs .samples article")).to_contain_text("before training")
        page.locator("#runs [data-view=files]").click()
        expect(page.locator("#runs .view table")).to_contain_text("adapter_model.safetensors")
    log = MetricsLog(folder.metrics_file)
    log.poll()
    steps, losses = log.points("loss")
    assert steps == list(range(1, STEPS + 1)), "the curve is whole: no step missing, none twice"
    assert sum(losses[-10:]) / 10 < sum(losses[:10]) / 10 - 0.5
    assert log.points("eval_loss")[0] == list(range(40, STEPS + 1, 40))
    assert watch.foreign == []
