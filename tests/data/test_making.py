"""New datasets hold the right rows in the right form, are registered, and never touch the old ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.data.check import check_dataset
from studio.data.converting import as_row, entry_for
from studio.data.examples import DataError, Example, Message, ToolCall
from studio.data.files import RawRow
from studio.data.formats import read_row
from studio.data.making import clean_dataset, convert_dataset, merge_datasets, split_dataset
from studio.data.reading import read_datasets, read_entry_file
from studio.data.registry import DatasetEntry, find_entry, load_registry, read_entry
from studio.data.splits import split


def room(root: Path, **datasets: tuple[list[Any], dict[str, Any]]) -> Workspace:
    """A workspace with the datasets: rows, and what their entries say."""
    (root / "data").mkdir()
    for name, (rows, _) in datasets.items():
        (root / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tree = {name: {"file_name": f"{name}.jsonl", **entry} for name, (_, entry) in datasets.items()}
    (root / "dataset_info.json").write_text(json.dumps(tree), encoding="utf-8")
    return Workspace(root)


def rows(count: int) -> list[dict[str, Any]]:
    return [{"q": f"q{n}", "output": "a", "id": n} for n in range(count)]


def written(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    text = (workspace.data / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


COLUMNS = {
    "columns": {"prompt": "q"},
    "license": "mine",
    "num_samples": 3,
    "hf_hub_url": "owner/name",
    "split": "train",
    "versions": ["x.jsonl"],
}


def test_a_split_keeps_every_column_and_agrees_with_the_run(tmp_path: Path) -> None:
    workspace = room(tmp_path, x=(rows(20), COLUMNS))
    assert split_dataset(workspace, "x", 0.1, 7, ("a", "b")) == (18, 2)
    train, held = split(rows(20), 0.1, 7)
    assert (written(workspace, "a"), written(workspace, "b")) == (train, held)
    tree = json.loads((tmp_path / "dataset_info.json").read_text(encoding="utf-8"))
    assert tree["b"] == {"file_name": "b.jsonl", "columns": {"prompt": "q"}, "license": "mine"}
    assert len(read_datasets(workspace, ["a"]).examples) == 18
    assert written(workspace, "x") == rows(20)


def test_lines_of_text_split_into_objects_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text('{"x": {"file_name": "x.txt", "columns": {"prompt": "text"}}}')
    workspace = Workspace(tmp_path)
    split_dataset(workspace, "x", 1, 0, ("a", "b"))
    assert sorted(example.text or "" for example in read_datasets(workspace, ["a", "b"]).examples) == [
        "one", "three", "two",
    ]  # fmt: skip


@pytest.mark.parametrize("names", [("x", "b"), ("a", "taken"), ("a", "a"), ("../a", "b"), ("", "b")])
def test_a_name_that_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, names: tuple[str, str]) -> None:
    workspace = room(tmp_path, x=(rows(4), COLUMNS))
    (tmp_path / "data" / "taken.jsonl").write_text("old", encoding="utf-8")
    with pytest.raises(DataError, match=r"already|cannot be a name|names of their own"):
        split_dataset(workspace, "x", 1, 0, names)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["taken.jsonl", "x.jsonl"]
    assert list(load_registry(workspace)) == ["x"]


def test_broken_rows_stop_a_split_or_are_left_out(tmp_path: Path) -> None:
    workspace = room(tmp_path, x=([*rows(3), {"q": "x", "output": ""}], COLUMNS))
    with pytest.raises(DataError, match=r"row 4 of data/x\.jsonl: 'output' is empty. .*--skip-broken"):
        split_dataset(workspace, "x", 1, 0, ("a", "b"))
    assert split_dataset(workspace, "x", 1, 0, ("a", "b"), skip_broken=True) == (2, 1)


def test_what_a_check_found_can_be_left_out(tmp_path: Path) -> None:
    values = [*rows(2), {"q": "q0", "output": "a", "id": 9}, {"q": ""}]
    workspace = room(tmp_path, x=(values, COLUMNS))
    report = check_dataset(workspace, "x")
    assert clean_dataset(workspace, "x", report.rows_with(["duplicate", "empty"]), "clean") == 2
    assert written(workspace, "clean") == rows(2)


def test_weights_repeat_and_thin_out(tmp_path: Path) -> None:
    entry = {"columns": {"prompt": "q"}}
    workspace = room(tmp_path, x=(rows(10), entry), y=([{"q": "y", "output": "b"}], entry))
    assert merge_datasets(workspace, [("x", 0.5), ("y", 3)], "openai", 1, "m") == 8
    asked = [row["messages"][0]["content"] for row in written(workspace, "m")]
    assert asked.count("y") == 3
    assert len(set(asked)) == 6
    merge_datasets(workspace, [("x", 0.5), ("y", 3)], "openai", 1, "again")
    assert written(workspace, "again") == written(workspace, "m")
    with pytest.raises(DataError, match="must lie above 0"):
        merge_datasets(workspace, [("x", 0)], "openai", 1, "n")


def test_kinds_do_not_mix(tmp_path: Path) -> None:
    pair = ([{"instruction": "a", "chosen": "b", "rejected": "c"}], {"ranking": True})
    workspace = room(tmp_path, x=(rows(1), {"columns": {"prompt": "q"}}), pair=pair)
    with pytest.raises(DataError, match="do not mix: chat, preference"):
        merge_datasets(workspace, [("x", 1), ("pair", 1)], "openai", 1, "m")


def test_a_converted_dataset_reads_the_same(tmp_path: Path) -> None:
    workspace = room(tmp_path, x=(rows(3), {"columns": {"prompt": "q"}}))
    for formatting in ("sharegpt", "openai", "alpaca"):
        assert convert_dataset(workspace, "x", formatting, formatting) == 3
        entry = find_entry(load_registry(workspace), formatting)
        assert entry.formatting == formatting
        asked = [example.messages for example in read_entry_file(workspace, entry).examples]
        assert asked == [example.messages for example in read_datasets(workspace, ["x"]).examples]


USER, ANSWER = Message("user", "a"), Message("assistant", "b")
CALLING = (USER, Message("assistant", "", calls=(ToolCall("f", '{"x": 1}', "c1"),)), Message("tool", "r", call_id="c1"))
BARE = Example("x", 1)
EXAMPLES = [
    replace(BARE, messages=(USER, ANSWER)),
    replace(BARE, messages=(Message("system", "s"), USER, ANSWER, USER, ANSWER)),
    replace(BARE, messages=(USER,), chosen=ANSWER, rejected=Message("assistant", "c")),
    replace(BARE, messages=(USER, ANSWER), label=False),
    replace(BARE, messages=(*CALLING, ANSWER), tools='[{"name": "f"}]'),
    replace(BARE, messages=(USER, replace(ANSWER, trained=False), USER, ANSWER)),
    replace(BARE, text="plain"),
]


@pytest.mark.parametrize("formatting", ["alpaca", "sharegpt", "openai", "text"])
@pytest.mark.parametrize("example", EXAMPLES, ids=["chat", "turns", "pair", "label", "tools", "weight", "text"])
def test_a_row_comes_back_the_same_or_says_why_it_cannot(example: Example, formatting: str) -> None:
    able = {"text": {"text"}}.get(formatting, {"chat", "preference", "judged", "tools"})
    able -= {"tools"} if formatting == "alpaca" else set()
    weighted = any(message.trained is False for message in example.messages)
    if example.kind not in able or (weighted and formatting == "alpaca"):
        with pytest.raises(DataError, match=f"row 1 of x cannot become {formatting}: "):
            as_row(example, formatting)
        return
    entry = read_entry("x", entry_for("x.jsonl", formatting, example))
    assert isinstance(entry, DatasetEntry)
    back = read_row(RawRow("x", 1, json.loads(json.dumps(as_row(example, formatting)))), entry)
    if formatting == "sharegpt":  # it has no place for the names of calls
        plain = (replace(m, call_id="", calls=tuple(replace(c, id="") for c in m.calls)) for m in example.messages)
        example = replace(example, messages=tuple(plain))
    assert back == example
