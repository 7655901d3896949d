"""A draft shows what will be saved, outlives what holds it, and never edits another row than the one that was meant."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import random
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.data import editing, rewriting
from studio.data.check import check_dataset
from studio.data.editing import Draft, draft_file
from studio.data.examples import BadRow, DataError
from studio.data.files import RawRow, rows_of
from studio.data.registry import find_entry, load_registry, locate
from studio.data.versions import use_version, versions
from tests.data.test_files import write

NAMES = ["x.json", "x.jsonl", "x.csv", "x.tsv", "x.parquet", "x.arrow", "x.stream.arrow", "x.txt"]


def room(root: Path, name: str, count: int = 20, **entry: Any) -> Workspace:
    """A workspace with a dataset `d` of `count` rows in the file `name`."""
    (root / "data").mkdir(exist_ok=True)
    path = root / "data" / name
    if ".txt" in name:
        text = "".join(f"row {n}\n" for n in range(count)).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        entry.setdefault("formatting", "text")
    else:
        write(path, [{"instruction": f"q{n}", "output": f"row {n}"} for n in range(count)])
    (root / "dataset_info.json").write_text(json.dumps({"d": {"file_name": name, **entry}}), encoding="utf-8")
    return Workspace(root)


def value(name: str, text: str) -> dict[str, Any]:
    return {"text": text} if ".txt" in name else {"instruction": "q", "output": text}


def text_of(row: RawRow | BadRow) -> str:
    assert isinstance(row, RawRow)
    return row.value if isinstance(row.value, str) else row.value.get("output", row.value.get("text"))


def saved(workspace: Workspace) -> list[str]:
    path = locate(workspace, find_entry(load_registry(workspace), "d"))
    return [text_of(row) for row in rows_of(path, path.name)]


def shown(draft: Draft, size: int = 7) -> list[str]:
    """What the pages of a draft show, one after another; removed rows left out."""
    found: list[str] = []
    start = 0
    while page := draft.page(start, size):
        found += [text_of(row.row) for row in page if row.state != "removed"]
        start += len(page)
    return found


@pytest.mark.parametrize("name", [*NAMES, "x.jsonl.gz", "x.csv.gz", "x.txt.gz", "x.parquet.gz"])
def test_what_a_draft_shows_is_what_is_saved(tmp_path: Path, name: str) -> None:
    """Random steps, held against a plain list that is edited in the same way."""
    workspace, draw = room(tmp_path, name), random.Random(name)
    before = (tmp_path / "data" / name).read_bytes()
    draft = Draft.open(workspace, "d")
    rows = [[place, f"row {place}"] for place in range(20)]  # what the list holds: place and text
    past: list[list[list[Any]]] = []
    for number in range(60):
        kind, alive = draw.choice(["change", "remove", "add", "add", "undo"]), [row[0] for row in rows]
        new = [list(row) for row in rows]
        if kind == "change" and alive:
            place = draw.choice(alive)
            draft.change(place, value(name, f"new {number}"))
            new[alive.index(place)][1] = f"new {number}"
        elif kind == "remove" and len(alive) > 4:
            gone = draw.sample(alive, 2)
            draft.remove(gone)
            new = [row for row in new if row[0] not in gone]
        elif kind == "add":
            after = draw.choice([*alive, None])
            place = draft.add(value(name, f"added {number}"), after)
            at = len(new) if after is None else alive.index(after) + 1
            new.insert(at, [place, f"added {number}"])
        elif kind == "undo" and past:
            assert draft.undo()
            rows = past.pop()
            continue
        else:
            continue
        past.append(rows)
        rows = new
        draft = Draft.open(workspace, "d") if draw.random() < 0.3 else draft  # the server was started again
    expected = [row[1] for row in rows]
    for size in (1, 3, 100):
        assert shown(draft, size) == expected
    result = draft.save()
    assert (result.rows, result.note) == (len(expected), "")
    assert result.file == name.replace("x.", "x.v2.", 1) if "stream" not in name else result.file == "x.stream.v2.arrow"
    assert saved(workspace) == expected
    assert (tmp_path / "data" / name).read_bytes() == before
    assert not draft_file(workspace, "d").exists()
    assert sorted(path.name for path in (tmp_path / "data").glob(".*.saving")) == []


def test_undo_and_redo_walk_over_every_step(tmp_path: Path) -> None:
    draft = Draft.open(room(tmp_path, "x.jsonl"), "d")
    seen = [shown(draft)]
    draft.change(3, {"output": "three"})
    seen.append(shown(draft))
    draft.remove([3, 5, 6])
    seen.append(shown(draft))
    draft.add({"output": "a"}, 6)
    draft.add({"output": "b"}, -1)
    seen.append(shown(draft))
    assert seen[-1][4:6] == ["a", "b"]
    assert (draft.count, draft.counts) == (5, {"changed": 0, "removed": 3, "added": 2})
    assert draft.undo() and draft.undo()
    assert shown(draft) == seen[2]
    assert draft.undo() and shown(draft) == seen[1]
    assert draft.undo() and shown(draft) == seen[0]
    assert not draft.undo() and draft.count == 0
    assert draft.redo() and draft.redo() and shown(draft) == seen[2]
    draft.change(0, {"output": "zero"})
    assert not draft.redo()
    draft.discard()
    assert shown(draft) == seen[0] and not draft.undo()


def test_a_broken_line_is_replaced_and_the_others_stay_byte_for_byte(tmp_path: Path) -> None:
    workspace = room(tmp_path, "x.jsonl")
    lines = [b'{"instruction": "a",   "output": "one"}', b"", b'{"instruction": "b", "outp', b"\xff\xfe", b'{"n": 1e3}']
    (tmp_path / "data" / "x.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    draft = Draft.open(workspace, "d")
    assert [type(row.row) for row in draft.page(0, 9)] == [RawRow, BadRow, BadRow, RawRow]
    assert draft.text(1) == '{"instruction": "b", "outp'
    draft.change(1, {"instruction": "b", "output": "two"})
    row = draft.page(1, 1)[0]
    assert (row.state, text_of(row.row), isinstance(row.before, BadRow)) == ("changed", "two", True)
    assert draft.save().rows == 4
    new = [lines[0], b'{"instruction": "b", "output": "two"}', lines[3], lines[4], b""]
    assert (tmp_path / "data" / "x.v2.jsonl").read_bytes() == b"\n".join(new)


def test_records_of_a_csv_stay_as_they_are_written(tmp_path: Path) -> None:
    workspace = room(tmp_path, "x.csv")
    text = 'instruction;output\r\n"a";one\r\nb;"two\n2"\r\nc\r\nd;four'
    (tmp_path / "data" / "x.csv").write_bytes(text.encode())
    draft = Draft.open(workspace, "d")
    assert draft.text(1) == 'b;"two\n2"'
    assert draft.text(2) == "c"
    draft.change(2, {"instruction": "c", "output": 'a "b"; c'})
    draft.add({"output": "five"}, None)
    draft.save()
    new = text.replace("c\r\n", 'c;"a ""b""; c"\r\n') + "\r\n;five\r\n"
    assert (tmp_path / "data" / "x.v2.csv").read_bytes().decode() == new


@pytest.mark.parametrize(
    ("name", "new", "reason"),
    [
        ("x.csv", {"instruction": "q", "output": ["a"]}, "'output' is not text"),
        ("x.csv", {"instruction": "q", "output": "a", "more": "b"}, "no column 'more'"),
        ("x.txt", {"text": "two\nlines"}, "cannot hold a line break"),
        ("x.parquet", {"instruction": "q", "output": "a", "more": "b"}, "no column 'more'"),
        ("x.arrow", {"instruction": 3, "output": "a"}, "'int'|int"),
    ],
)
def test_an_edit_that_its_kind_of_file_cannot_hold_makes_json_lines(
    tmp_path: Path, name: str, new: dict[str, Any], reason: str
) -> None:
    workspace = room(tmp_path, name)
    draft = Draft.open(workspace, "d")
    draft.change(2, new)
    result = draft.save()
    assert (result.file, result.rows) == ("x.v2.jsonl", 20)
    assert result.note.startswith("Written as JSON lines: ")
    rows = [json.loads(line) for line in (tmp_path / "data" / "x.v2.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[2] == new
    assert len(check_dataset(workspace, "d").numbers) <= 1
    use_version(workspace, "d", name)
    assert saved(workspace)[2] == "row 2"


def test_a_folder_becomes_a_new_folder(tmp_path: Path) -> None:
    workspace = room(tmp_path, "x.jsonl")
    folder = tmp_path / "data" / "x"
    folder.mkdir()
    for number in range(3):
        write(folder / f"{number}.jsonl", [{"output": f"{number}-{n}"} for n in range(4)])
    (tmp_path / "dataset_info.json").write_text('{"d": {"file_name": "x"}}', encoding="utf-8")
    draft = Draft.open(workspace, "d")
    draft.change(5, {"output": "new"})
    draft.remove([0, 11])
    draft.add({"output": "last"}, None)
    draft.add({"output": "behind"}, 3)
    expected = [f"{n // 4}-{n % 4}" for n in range(1, 11)]
    expected[4] = "new"
    expected = [*expected[:3], "behind", *expected[3:], "last"]
    assert shown(draft, 5) == expected
    assert draft.save().file == "x.v2"
    assert saved(workspace) == expected
    assert sorted(path.name for path in (tmp_path / "data" / "x.v2").iterdir()) == ["0.jsonl", "1.jsonl", "2.jsonl"]


def test_versions_count_up_overwrite_nothing_and_can_be_gone_back_to(tmp_path: Path) -> None:
    workspace = room(tmp_path, "x.jsonl", license="mine")
    (tmp_path / "data" / "x.v2.jsonl").write_text("somebody's", encoding="utf-8")
    for number in (3, 4):
        draft = Draft.open(workspace, "d")
        draft.remove([0])
        assert draft.save().file == f"x.v{number}.jsonl"
    assert (tmp_path / "data" / "x.v2.jsonl").read_text(encoding="utf-8") == "somebody's"
    found = versions(workspace, "d")
    assert [(one.file, one.rows, one.current) for one in found] == [
        ("x.jsonl", 20, False),
        ("x.v3.jsonl", 19, False),
        ("x.v4.jsonl", 18, True),
    ]
    use_version(workspace, "d", "x.v3.jsonl")
    assert len(saved(workspace)) == 19
    assert json.loads((tmp_path / "dataset_info.json").read_text(encoding="utf-8"))["d"]["license"] == "mine"
    with pytest.raises(DataError, match="no version of the dataset 'd'"):
        use_version(workspace, "d", "x.v2.jsonl")
    (tmp_path / "data" / "x.v4.jsonl").unlink()
    assert [one.current for one in versions(workspace, "d")] == [False, True]


def test_the_rows_of_a_finding_are_removed_as_one_step(tmp_path: Path) -> None:
    workspace = room(tmp_path, "x.jsonl", 0)
    lines = ['{"instruction": "a", "output": "b"}', "", "{", '{"instruction": "a", "output": "b"}'] * 3
    (tmp_path / "data" / "x.jsonl").write_text("\n".join(lines), encoding="utf-8")
    report = check_dataset(workspace, "d", near=False)
    draft = Draft.open(workspace, "d")
    draft.remove(report.rows_with(("not_json", "duplicate")))
    assert draft.count == 8
    assert [row.place for row in draft.page(0, 20) if row.state == "same"] == [0]
    draft.undo()
    assert draft.count == 0
    draft.redo()
    assert draft.save().rows == 1


def test_removing_a_million_rows_costs_a_bit_each(tmp_path: Path) -> None:
    workspace = room(tmp_path, "x.txt", 0)
    (tmp_path / "data" / "x.txt").write_bytes(b"row\n" * 1_000_000)
    draft = Draft.open(workspace, "d")
    draft.remove(range(10, 999_990))
    assert draft.count == 999_980
    assert draft_file(workspace, "d").stat().st_size < 2000
    assert [row.state for row in draft.page(999_988, 3)] == ["removed", "removed", "same"]


@pytest.mark.parametrize("how", ["rows", "path"])
def test_a_draft_says_that_its_file_is_another(tmp_path: Path, how: str) -> None:
    workspace = room(tmp_path, "x.jsonl")
    draft = Draft.open(workspace, "d")
    draft.change(3, {"output": "three"})
    if how == "rows":
        path = tmp_path / "data" / "x.jsonl"
        path.write_bytes(b'{"output": "first"}\n' + path.read_bytes())
    else:
        write(tmp_path / "data" / "y.jsonl")
        (tmp_path / "dataset_info.json").write_text('{"d": {"file_name": "y.jsonl"}}', encoding="utf-8")
    acts = [
        lambda one: one.change(1, {}),
        lambda one: one.remove([1]),
        lambda one: one.add({}, None),
        Draft.save,
        Draft.undo,
    ]
    for one in (draft, Draft.open(workspace, "d")):
        assert one.stale.startswith("The file data/x.jsonl" if how == "rows" else "This draft was made against x.jsonl")
        for act in acts:
            with pytest.raises(DataError, match=r"was changed since|is read from y\.jsonl now"):
                act(one)
    assert all(row.state == "same" for row in Draft.open(workspace, "d").page(0, 30))
    draft.discard()
    assert not Draft.open(workspace, "d").stale


def test_a_file_that_was_only_touched_is_the_same(tmp_path: Path) -> None:
    workspace = room(tmp_path, "x.jsonl")
    Draft.open(workspace, "d").remove([1])
    os.utime(tmp_path / "data" / "x.jsonl", ns=(1, 1))
    assert Draft.open(workspace, "d").stale == ""


def test_two_drafts_of_one_dataset_see_each_other(tmp_path: Path) -> None:
    workspace = room(tmp_path, "x.jsonl")
    one, two = Draft.open(workspace, "d"), Draft.open(workspace, "d")
    one.add({"output": "a"}, None)
    two.add({"output": "b"}, None)
    one.remove([0])
    assert shown(one) == shown(two)
    assert shown(two)[-2:] == ["a", "b"]
    two.discard()
    assert one.count == 0
    one.remove([1])
    assert two.count == 1
    two.discard()
    two.add({"output": "c"}, None)
    two.remove([2, 3])
    assert shown(one) == shown(two)  # though the new log may have the place on the disk that the old one had


def _add_many(root: Path, name: str) -> None:
    draft = Draft.open(Workspace(root), "d")
    for number in range(20):
        draft.add({"output": f"{name}{number}"}, None)


def test_processes_that_edit_at_once_lose_nothing(tmp_path: Path) -> None:
    workspace = room(tmp_path, "x.jsonl")
    processes = [multiprocessing.get_context("fork").Process(target=_add_many, args=(tmp_path, n)) for n in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(shown(Draft.open(workspace, "d"))[20:]) == sorted(f"{name}{n}" for name in "ab" for n in range(20))


@pytest.mark.parametrize("torn", [b'{"op": "remove", "fir', b'{"op": "undo"}'])
def test_a_step_that_was_written_in_half_is_none(tmp_path: Path, torn: bytes) -> None:
    workspace = room(tmp_path, "x.jsonl")
    Draft.open(workspace, "d").remove([1])
    with draft_file(workspace, "d").open("ab") as file:
        file.write(torn)
    draft = Draft.open(workspace, "d")
    assert draft.count == 1
    draft.remove([2])
    assert Draft.open(workspace, "d").count == 2


@pytest.mark.parametrize(
    "line", [b'{"op": "odd"}', b'{"op": "change"}', b'{"op": "remove", "first": 0, "bits": "AAAA"}', b"[]"]
)
def test_a_damaged_draft_says_so_and_can_be_discarded(tmp_path: Path, line: bytes) -> None:
    workspace = room(tmp_path, "x.jsonl")
    draft = Draft.open(workspace, "d")
    draft.remove([1])
    with draft_file(workspace, "d").open("ab") as file:
        file.write(line + b"\n")
    for one in (draft, Draft.open(workspace, "d")):
        with pytest.raises(DataError, match="The draft of 'd' is damaged"):
            one.page(0, 3)
    Draft.open(workspace, "d").discard()
    assert draft.count == 0
    assert Draft.open(workspace, "d").count == 0


def test_a_full_disk_leaves_the_draft_and_no_half_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = room(tmp_path, "x.jsonl")
    draft = Draft.open(workspace, "d")
    draft.change(1, {"output": "one"})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rewriting.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        draft.save()
    with pytest.raises(OSError, match="No space left"):
        draft.remove([2])
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".drafts", "x.jsonl"]
    assert saved(workspace)[1] == "row 1"
    assert shown(Draft.open(workspace, "d"))[1] == "one"
    assert Draft.open(workspace, "d").save().rows == 20


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda draft: draft.change(20, {}), "There is no row 21 in data/x.jsonl"),
        (lambda draft: draft.remove([3, 20]), "There is no row 21"),
        (lambda draft: draft.add({}, 20), "There is no row 21"),
        (lambda draft: draft.add({}, -1), "is not in this draft any more"),
        (lambda draft: draft.change(-1, {}), "is not in this draft any more"),
        (lambda draft: draft.change(0, {}), "Row 1 is removed in this draft"),
        (lambda draft: draft.change(1, {"a": {1, 2}}), "cannot be written as JSON"),
        (lambda draft: draft.change(1, {"a": "\ud800"}), "cannot be written as JSON"),
    ],
)
def test_a_step_that_cannot_be_taken_is_refused(tmp_path: Path, act: Any, reason: str) -> None:
    workspace = room(tmp_path, "x.jsonl")
    draft = Draft.open(workspace, "d")
    draft.remove([0])
    with pytest.raises(DataError, match=reason):
        act(draft)
    assert (draft.count, Draft.open(workspace, "d").count) == (1, 1)


def test_a_draft_is_no_dataset_file_and_needs_no_file_before_its_first_step(tmp_path: Path) -> None:
    workspace = room(tmp_path, "x.jsonl")
    draft = Draft.open(workspace, "d")
    assert draft.page(0, 1)[0].state == "same"
    assert not draft.undo()
    assert list(editing.drafts(workspace)) == []
    draft.remove([])
    assert list(editing.drafts(workspace)) == []
    draft.remove([0])
    assert list(editing.drafts(workspace)) == [draft_file(workspace, "d")]
