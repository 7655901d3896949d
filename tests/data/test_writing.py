"""Writing keeps what it does not know, writes whole files or none, and overwrites nothing unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.data.writing import remove_entry, save_entry, write_rows

TREE = {
    "z": {"file_name": "z.json", "license": "mine", "columns": {"prompt": "q"}},
    "broken": 3,
    "a": {"hf_hub_url": "o/n", "x-note": {"deep": [1]}},
}


def workspace(root: Path) -> Workspace:
    (root / "dataset_info.json").write_text(json.dumps(TREE), encoding="utf-8")
    return Workspace(root)


def read(root: Path) -> dict[str, object]:
    return json.loads((root / "dataset_info.json").read_text(encoding="utf-8"))


def test_a_new_entry_comes_last_and_the_others_stay_as_they_are(tmp_path: Path) -> None:
    save_entry(workspace(tmp_path), "новый", {"file_name": "n.json"})
    assert list(read(tmp_path).items()) == [*TREE.items(), ("новый", {"file_name": "n.json"})]
    assert "новый" in (tmp_path / "dataset_info.json").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".dataset_info.lock", "dataset_info.json"]


def test_a_changed_entry_keeps_its_place_and_its_unknown_keys(tmp_path: Path) -> None:
    save_entry(workspace(tmp_path), "z", {"formatting": "openai", "columns": None}, replace=True)
    assert list(read(tmp_path)) == list(TREE)
    assert read(tmp_path)["z"] == {"file_name": "z.json", "license": "mine", "formatting": "openai"}


@pytest.mark.parametrize(
    ("name", "value", "replace", "reason"),
    [
        ("z", {"file_name": "n.json"}, False, "There is a dataset 'z' already"),
        ("n", {"formatting": "openai"}, False, "would be broken: it names no file_name"),
        ("n", {"file_name": "n", "formatting": "odd"}, False, "would be broken: formatting 'odd'"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str, value: dict[str, str], replace: bool, reason: str
) -> None:
    room = workspace(tmp_path)
    with pytest.raises(DataError, match=reason):
        save_entry(room, name, value, replace=replace)
    assert read(tmp_path) == TREE


def test_a_registry_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="not valid JSON"):
        save_entry(Workspace(tmp_path), "n", {"file_name": "n.json"})
    assert (tmp_path / "dataset_info.json").read_text(encoding="utf-8") == "{"


def test_an_entry_of_the_data_folder_is_changed_there(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text('{"b": {"file_name": "b.json"}}', encoding="utf-8")
    room = workspace(tmp_path)
    assert save_entry(room, "b", {"split": "test"}, replace=True) == tmp_path / "data" / "dataset_info.json"
    assert save_entry(room, "new", {"file_name": "c.json"}) == tmp_path / "dataset_info.json"


def test_an_entry_can_be_taken_out(tmp_path: Path) -> None:
    remove_entry(workspace(tmp_path), "broken")
    assert list(read(tmp_path)) == ["z", "a"]
    with pytest.raises(DataError, match="There is no dataset 'broken'"):
        remove_entry(Workspace(tmp_path), "broken")


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_rows_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    rows = [{"a": "ü\u2028\n"}, {"a": "二"}]
    for count in (2, 0):
        path = tmp_path / str(count) / name
        assert write_rows(path, iter(rows[:count])) == count
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if name.endswith(".json") else [json.loads(line) for line in text.split("\n") if line]
        assert values == rows[:count]


def test_rows_that_break_off_leave_nothing(tmp_path: Path) -> None:
    def rows():
        yield {"a": 1}
        raise DataError("row 2 is broken")

    with pytest.raises(DataError, match="row 2"):
        write_rows(tmp_path / "x.jsonl", rows())
    assert list(tmp_path.iterdir()) == []


def test_rows_overwrite_nothing_unasked(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(DataError, match="is there already"):
        write_rows(path, [{}])
    assert path.read_text(encoding="utf-8") == "old"
    assert write_rows(path, [{}], replace=True) == 1
    with pytest.raises(DataError, match=r"must end in \.jsonl or \.json"):
        write_rows(tmp_path / "x.csv", [{}])
