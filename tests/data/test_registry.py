"""The dataset registry is read entry by entry: one broken entry spoils no other, and says what is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.data.editing import Draft
from studio.data.examples import DataError
from studio.data.listing import list_datasets
from studio.data.reading import read_datasets
from studio.data.registry import BrokenEntry, DatasetEntry, find_entry, load_registry, locate, read_entry
from studio.data.writing import save_entry


def registry(root: Path, tree: Any) -> Workspace:
    """A workspace whose registry holds `tree`."""
    (root / "dataset_info.json").write_text(json.dumps(tree), encoding="utf-8")
    (root / "data").mkdir(exist_ok=True)
    return Workspace(root)


def test_defaults_hold_for_columns_that_an_entry_does_not_name() -> None:
    entry = read_entry("x", {"file_name": "x.json", "columns": {"prompt": "question"}})
    assert isinstance(entry, DatasetEntry)
    assert entry.columns["prompt"] == "question"
    assert entry.columns["response"] == "output"
    assert entry.tags["user_tag"] == "human"
    assert entry.named_columns == {"prompt"}


def test_openai_entries_have_their_own_defaults() -> None:
    entry = read_entry("x", {"file_name": "x.jsonl", "formatting": "openai"})
    assert isinstance(entry, DatasetEntry)
    assert (entry.columns["messages"], entry.tags["role_tag"], entry.tags["assistant_tag"]) == (
        "messages",
        "role",
        "assistant",
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "an entry must be an object"),
        ({}, "names no file_name"),
        ({"file_name": 3}, "file_name must be text, but is 3"),
        ({"file_name": "x", "formatting": "csv"}, "formatting 'csv' is unknown"),
        ({"file_name": "x", "num_samples": 0}, "num_samples must be a whole number above 0"),
        ({"file_name": "x", "num_samples": True}, "num_samples must be a whole number above 0"),
        ({"file_name": "x", "ranking": "yes"}, "ranking must be true or false"),
        ({"file_name": "x", "columns": ["a"]}, "columns must be an object of names"),
        ({"file_name": "x", "tags": {"role_tag": 1}}, "tags.role_tag must be text"),
    ],
)
def test_a_broken_entry_says_why(value: Any, reason: str) -> None:
    entry = read_entry("x", value)
    assert isinstance(entry, BrokenEntry)
    assert reason in entry.reason


def test_a_broken_entry_leaves_the_others_alone(tmp_path: Path) -> None:
    workspace = registry(tmp_path, {"bad": {}, "good": {"file_name": "good.json"}})
    entries = load_registry(workspace)
    assert isinstance(entries["bad"], BrokenEntry)
    assert isinstance(entries["good"], DatasetEntry)
    with pytest.raises(DataError, match=r"'bad' in dataset_info.json is broken: it names no file_name"):
        find_entry(entries, "bad")


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    entries = load_registry(registry(tmp_path, {"identity": {"file_name": "a"}, "general": {"file_name": "b"}}))
    with pytest.raises(DataError, match="Did you mean 'identity'"):
        find_entry(entries, "identty")
    with pytest.raises(DataError, match="There are: identity, general"):
        find_entry(entries, "zzz")
    with pytest.raises(DataError, match="missing or empty"):
        find_entry({}, "zzz")


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_a_registry_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset_info.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"dataset_info\.json"):
        load_registry(Workspace(tmp_path))


def test_files_are_looked_up_in_data_and_then_beside_the_registry(tmp_path: Path) -> None:
    workspace = registry(tmp_path, {"a": {"file_name": "a.json"}, "b": {"file_name": "b.json"}})
    for place in ("data/a.json", "a.json", "b.json"):
        (tmp_path / place).write_text("[]", encoding="utf-8")
    entries = load_registry(workspace)
    assert locate(workspace, find_entry(entries, "a")) == tmp_path / "data" / "a.json"
    assert locate(workspace, find_entry(entries, "b")) == tmp_path / "b.json"


@pytest.mark.parametrize("file_name", ["../secret.json", "/etc/passwd", "../../../../etc/passwd"])
def test_a_file_outside_the_workspace_is_refused(tmp_path: Path, file_name: str) -> None:
    root = tmp_path / "workspace"
    root.mkdir()
    (tmp_path / "secret.json").write_text("[]", encoding="utf-8")
    workspace = registry(root, {"x": {"file_name": file_name}})
    with pytest.raises(DataError, match=r"may not be read: .* lies outside the workspace"):
        locate(workspace, find_entry(load_registry(workspace), "x"))


def test_a_link_out_of_the_workspace_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    root.mkdir()
    (tmp_path / "secret.json").write_text("[]", encoding="utf-8")
    workspace = registry(root, {"x": {"file_name": "link.json"}})
    (root / "data" / "link.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(DataError, match="lies outside the workspace"):
        locate(workspace, find_entry(load_registry(workspace), "x"))


def test_a_dataset_on_a_hub_says_what_to_do(tmp_path: Path) -> None:
    workspace = registry(tmp_path, {"x": {"hf_hub_url": "owner/name"}})
    with pytest.raises(DataError, match=r"hf_hub_url owner/name and is not on this machine yet.*studio data fetch x"):
        locate(workspace, find_entry(load_registry(workspace), "x"))


EVERY_KEY: dict[str, Any] = {
    "file_name": "x.json",
    "hf_hub_url": "owner/hf",
    "ms_hub_url": "owner/ms",
    "om_hub_url": "owner/om",
    "script_url": "script",
    "cloud_file_name": "s3://bucket/x.json",
    "formatting": "sharegpt",
    "ranking": True,
    "subset": "en",
    "split": "validation",
    "folder": "python",
    "num_samples": 7,
    "columns": {
        "prompt": "c1",
        "query": "c2",
        "response": "c3",
        "history": "c4",
        "messages": "c5",
        "system": "c6",
        "tools": "c7",
        "images": "c8",
        "videos": "c9",
        "audios": "c10",
        "chosen": "c11",
        "rejected": "c12",
        "kto_tag": "c13",
    },
    "tags": {
        "role_tag": "t1",
        "content_tag": "t2",
        "user_tag": "t3",
        "assistant_tag": "t4",
        "observation_tag": "t5",
        "function_tag": "t6",
        "system_tag": "t7",
    },
}


def test_every_key_of_the_format_is_read() -> None:
    entry = read_entry("x", EVERY_KEY)
    assert isinstance(entry, DatasetEntry)
    assert (entry.file_name, entry.formatting, entry.ranking, entry.subset) == ("x.json", "sharegpt", True, "en")
    assert (entry.split, entry.folder, entry.num_samples, entry.notes) == ("validation", "python", 7, ())
    assert {key: entry.columns[key] for key in EVERY_KEY["columns"]} == EVERY_KEY["columns"]
    assert dict(entry.tags) == EVERY_KEY["tags"]
    assert entry.sources == {key: EVERY_KEY[key] for key in entry.sources}
    assert len(entry.sources) == 5


def test_a_misspelt_column_is_noted_with_the_nearest() -> None:
    entry = read_entry("x", {"file_name": "x", "columns": {"promt": "q"}, "tags": {"user": "me"}})
    assert isinstance(entry, DatasetEntry)
    assert "columns.promt is passed over" in entry.notes[0]
    assert "Did you mean 'prompt'?" in entry.notes[0]
    assert "tags.user is passed over" in entry.notes[1]


def test_a_llama_factory_folder_is_used_in_place(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.json").write_text("[]", encoding="utf-8")
    theirs = {"a": {"file_name": "a.json"}, "both": {"file_name": "theirs.json"}}
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(theirs), encoding="utf-8")
    workspace = Workspace(tmp_path)
    assert locate(workspace, find_entry(load_registry(workspace), "a")) == tmp_path / "data" / "a.json"
    registry(tmp_path, {"both": {"file_name": "ours.json"}})
    entries = load_registry(workspace)
    assert list(entries) == ["both", "a"]
    assert find_entry(entries, "both").file_name == "ours.json"


def test_the_list_shows_size_rows_and_problems(tmp_path: Path) -> None:
    workspace = registry(
        tmp_path,
        {
            "rows": {"file_name": "rows.json"},
            "lines": {"file_name": "lines.jsonl", "formatting": "openai"},
            "gone": {"file_name": "gone.json"},
            "broken": {},
        },
    )
    (tmp_path / "data" / "rows.json").write_text("[{}, {}, {}]", encoding="utf-8")
    (tmp_path / "data" / "lines.jsonl").write_text("{}\n\n{}\n", encoding="utf-8")
    rows, lines, gone, broken = list_datasets(workspace)
    assert (rows.name, rows.formatting, rows.size, rows.rows, rows.problem) == ("rows", "alpaca", 12, 3, None)
    assert (lines.formatting, lines.rows) == ("openai", 2)
    assert gone.problem is not None
    assert "gone.json" in gone.problem
    assert broken.problem == "it names no file_name."


def test_a_changed_file_is_counted_again(tmp_path: Path) -> None:
    workspace = registry(tmp_path, {"rows": {"file_name": "rows.json"}})
    file = tmp_path / "data" / "rows.json"
    file.write_text("[{}]", encoding="utf-8")
    assert list_datasets(workspace)[0].rows == 1
    file.write_text("[{}, {}]", encoding="utf-8")
    assert list_datasets(workspace)[0].rows == 2


def llama_factory(root: Path) -> Path:
    """A folder laid out like LLaMA-Factory's, with one dataset; its data folder."""
    (root / "data").mkdir(parents=True)
    rows = [{"instruction": "q", "output": "a"}, {"instruction": "r", "output": "b"}]
    (root / "data" / "mine.json").write_text(json.dumps(rows), encoding="utf-8")
    tree = {"mine": {"file_name": "mine.json", "columns": {"prompt": "instruction"}}}
    (root / "data" / "dataset_info.json").write_text(json.dumps(tree), encoding="utf-8")
    return root / "data"


@pytest.mark.parametrize("place", ["its root as workspace", "its data as workspace", "root allowed", "data allowed"])
def test_a_llama_factory_folder_is_edited_in_place(tmp_path: Path, place: str) -> None:
    data = llama_factory(tmp_path / "factory")
    (tmp_path / "room").mkdir()
    workspace = {
        "its root as workspace": Workspace(data.parent),
        "its data as workspace": Workspace(data),
        "root allowed": Workspace(tmp_path / "room", (data.parent,)),
        "data allowed": Workspace(tmp_path / "room", (data,)),
    }[place]
    assert [(row.name, row.rows, row.problem) for row in list_datasets(workspace)] == [("mine", 2, None)]
    draft = Draft.open(workspace, "mine")
    draft.remove([0])
    assert draft.save().file == "mine.v2.json"
    assert (data / "mine.v2.json").is_file()
    assert json.loads((data / "dataset_info.json").read_text(encoding="utf-8"))["mine"]["file_name"] == "mine.v2.json"
    assert len(read_datasets(workspace, ["mine"]).examples) == 1
    written = save_entry(workspace, "new", {"file_name": "new.json"})
    assert written == (data if "as workspace" in place else tmp_path / "room") / "dataset_info.json"


def test_the_workspace_wins_over_an_allowed_folder_and_its_files_are_not_mixed_up(tmp_path: Path) -> None:
    data = llama_factory(tmp_path / "factory")
    room = tmp_path / "room"
    room.mkdir()
    (room / "mine.json").write_text('[{"instruction": "own", "output": "a"}]', encoding="utf-8")
    workspace = Workspace(room, (data,))
    assert locate(workspace, find_entry(load_registry(workspace), "mine")) == data / "mine.json"
    (room / "dataset_info.json").write_text('{"mine": {"file_name": "mine.json"}}', encoding="utf-8")
    assert locate(workspace, find_entry(load_registry(workspace), "mine")) == room / "mine.json"


def test_a_job_finds_the_folders_that_were_allowed_when_it_was_started(tmp_path: Path) -> None:
    data = llama_factory(tmp_path / "factory")
    folder = tmp_path / "room" / "saves" / "run"
    folder.mkdir(parents=True)
    env = {"STUDIO_ALLOW": f"{data}{os.pathsep}{tmp_path / 'other'}"}
    workspace = Workspace.of_run(folder, env)
    assert (workspace.root, workspace.allowed) == (tmp_path / "room", (data, tmp_path / "other"))
    assert len(read_datasets(workspace, ["mine"]).examples) == 2
    assert Workspace.of_run(folder, {}).allowed == ()
