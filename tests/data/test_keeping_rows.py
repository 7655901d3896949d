"""Rows that somebody keeps one by one: a dataset begins, grows, and is never mixed with what it does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.config.workspace import Workspace
from studio.data.examples import DataError, Example, Message
from studio.data.keeping import keep
from studio.data.reading import read_entry_file
from studio.data.registry import find_entry, load_registry

ASKED = (Message("system", "Be short."), Message("user", "Who are you? 你好"))
TALK = Example("chat", 1, (*ASKED, Message("assistant", "Tessa.")))
CHOICE = Example("chat", 1, ASKED, chosen=Message("assistant", "Tessa."), rejected=Message("assistant", "I am many."))


def kinds(root: Path, name: str) -> list[str]:
    workspace = Workspace(root)
    found = read_entry_file(workspace, find_entry(load_registry(workspace), name))
    assert not found.broken
    return [example.kind for example in found.examples]


def test_the_first_row_makes_the_dataset_and_the_next_ones_join_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "data").mkdir()
    assert [keep(workspace, "talks", TALK) for _ in range(3)] == ["data/talks.jsonl"] * 3
    assert keep(workspace, "choices", CHOICE) == keep(workspace, "choices", CHOICE)
    assert kinds(tmp_path, "talks") == [TALK.kind] * 3
    assert set(kinds(tmp_path, "choices")) == {"preference"}


def test_a_line_without_its_end_is_not_run_into(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "data").mkdir()
    keep(workspace, "talks", TALK)
    file = tmp_path / "data" / "talks.jsonl"
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    keep(workspace, "talks", TALK)
    assert len(file.read_text(encoding="utf-8").splitlines()) == 2
    assert len(kinds(tmp_path, "talks")) == 2


@pytest.mark.parametrize(
    ("name", "example", "said"),
    [
        ("talks", CHOICE, "no .jsonl of preferences"),
        ("old", TALK, "no .jsonl of conversations"),
        ("../out", TALK, "cannot be a dataset's name"),
        ("", TALK, "cannot be a dataset's name"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    tmp_path: Path, name: str, example: Example, said: str
) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "data").mkdir()
    keep(workspace, "talks", TALK)
    (tmp_path / "data" / "old.json").write_text("[]", encoding="utf-8")
    registry = json.loads(workspace.registry.read_text(encoding="utf-8"))
    workspace.registry.write_text(json.dumps({**registry, "old": {"file_name": "old.json"}}), encoding="utf-8")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=said):
        keep(workspace, name, example)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before
