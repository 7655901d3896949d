"""A report is kept as long as what was checked is the same, and comes back whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.cli.main import main
from studio.config.workspace import Workspace
from studio.data.kept_reports import (
    REPORT,
    Question,
    check_and_keep,
    kept_report,
    newest_question,
    newest_summary,
    report_folder,
    rows_read,
)
from studio.data.registry import find_entry, load_registry

ROWS = [{"instruction": f"Ask {row}?", "output": f"Answer {row}" if row % 5 else ""} for row in range(20)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    made.data.mkdir()
    (made.data / "a.json").write_text(json.dumps([*ROWS, ROWS[1]]))
    (made.data / "b.json").write_text(json.dumps(ROWS[:3]))
    made.registry.write_text(json.dumps({"a": {"file_name": "a.json"}, "b": {"file_name": "b.json"}}))
    return made


def test_a_report_comes_back_as_it_was(workspace: Workspace) -> None:
    heard: list[int] = []
    question = Question(("b",), 100, near=False)
    report = check_and_keep(workspace, "a", question, heard.append)
    assert kept_report(report_folder(workspace, "a", question)) == (question, report)
    assert report.rows_with(["empty"]) == {0, 5, 10, 15} and report.counts["overlap"] > 0
    entry = find_entry(load_registry(workspace), "a")
    assert newest_question(workspace, entry) == question
    assert newest_summary(workspace, entry) == {
        "rows": 21, "usable": 17, "counts": dict(report.counts), "broken_off": ""}  # fmt: skip


def test_the_same_question_has_one_folder_and_any_change_another(workspace: Workspace) -> None:
    question = Question()
    before = report_folder(workspace, "a", question)
    assert before == report_folder(workspace, "a", Question())
    assert before != report_folder(workspace, "a", Question(cutoff=10))
    with_b = report_folder(workspace, "a", Question(("b",)))
    (workspace.data / "b.json").write_text("[]")
    assert with_b != report_folder(workspace, "a", Question(("b",))), "the set that it was held against is another"
    tree = json.loads(workspace.registry.read_text())
    tree["a"]["columns"] = {"prompt": "output", "response": "instruction"}
    workspace.registry.write_text(json.dumps(tree))
    assert before != report_folder(workspace, "a", question), "other columns are other rows"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"question": {}}'])
def test_a_damaged_report_is_none(workspace: Workspace, content: str) -> None:
    check_and_keep(workspace, "a", Question())
    folder = report_folder(workspace, "a", Question())
    (folder / REPORT).write_text(content)
    (folder / "progress.json").write_text(content)
    assert kept_report(folder) is None and rows_read(folder) == 0
    assert newest_question(workspace, find_entry(load_registry(workspace), "a")) is None
    newest_summary(workspace, find_entry(load_registry(workspace), "a"))


def test_a_check_in_the_terminal_is_kept_for_the_page(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "a", "--cutoff", "9", "--workspace", str(workspace.root)]) == 1
    assert "empty field" in capsys.readouterr().out
    assert newest_question(workspace, find_entry(load_registry(workspace), "a")) == Question(cutoff=9)
