"""The index of a file tells the same rows as reading it does, is carried on where the file grew, and is never wrong."""

from __future__ import annotations

import csv
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.data import index as indexes
from studio.data import indexing, pages
from studio.data.examples import DataError
from studio.data.files import RawRow, rows_of
from studio.data.index import begin_index, complete, index_file, load_index, save_index
from studio.data.indexing import index_now, stored_index
from studio.data.listing import list_datasets
from studio.data.pages import RowPages, StillIndexing, open_pages


@pytest.fixture(autouse=True)
def small_marks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Marks so near each other that a small file has many, and every file is indexed in the background."""
    pages._indexes.clear()
    monkeypatch.setattr(indexes, "BLOCK", 64)
    monkeypatch.setattr(pages, "AT_ONCE", {})
    yield
    for process in indexing._running.values():
        process.wait(60)
    indexing._running.clear()


def odd_rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Rows with line breaks, quotes, commas, letters of several bytes, and some of many blocks."""
    draw = random.Random(seed)
    signs = 'ab ,;"\n\r\té二😀[]{}\\'
    sizes = [draw.choice((0, 3, 30, 500)) for _ in range(count)]
    return [{"n": str(n), "text": "".join(draw.choices(signs, k=size))} for n, size in enumerate(sizes)]


def write(path: Path, rows: list[dict[str, str]], draw: random.Random) -> None:
    """The rows in the kind of file of the name, with blank lines and a byte order mark here and there."""
    head = draw.choice(("", "\ufeff"))
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(head)
            writer = csv.DictWriter(
                file, ["n", "text"], lineterminator=draw.choice(("\n", "\r\n")), quoting=csv.QUOTE_ALL
            )
            writer.writeheader()
            for row in rows:
                file.write("\n" * draw.choice((0, 0, 2)))
                writer.writerow(row)
    elif path.suffix == ".json":
        texts = [json.dumps(row, ensure_ascii=draw.random() < 0.5, indent=draw.choice((None, 2))) for row in rows]
        path.write_text(f"{head}\n[ {' , '.join(texts)}\n]\n", encoding="utf-8")
    else:
        blanks = ["", " \t", "\r"]
        lines = [line for row in rows for line in [*draw.sample(blanks, draw.choice((0, 0, 1, 3))), json.dumps(row)]]
        path.write_bytes((head + "\n".join(lines) + draw.choice(("", "\n", "\n \n"))).encode())


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.json"])
@pytest.mark.parametrize("seed", range(4))
def test_every_page_holds_the_rows_of_its_places(tmp_path: Path, name: str, seed: int) -> None:
    path, draw = tmp_path / name, random.Random(seed)
    write(path, odd_rows(60, seed), draw)
    rows = list(rows_of(path, name))
    assert [row.value["n"] for row in rows if isinstance(row, RawRow)] == [str(n) for n in range(60)]
    index = complete(path, name, begin_index(path))
    assert (index.total, index.whole, index.progress, len(index.rows) > 10) == (60, True, 1.0, True)
    for start in range(62):
        assert RowPages(path, name).page(start, 3) == rows[start : start + 3]
    assert RowPages(path, name).places() == 60


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv"])
def test_a_file_that_grew_is_read_on_from_its_last_mark(tmp_path: Path, name: str, monkeypatch: Any) -> None:
    path, whole = tmp_path / name, tmp_path / f"whole{name}"
    rows = odd_rows(80) if name == "x.jsonl" else [{"n": str(n), "text": "é" * (n % 40)} for n in range(80)]
    write(whole, rows, random.Random(1))
    content = whole.read_bytes()
    read: list[int] = []
    real = indexes._WALKS[path.suffix[1:]]
    walks = {path.suffix[1:]: lambda *words: read.append(words[2].offset) or real(*words)}
    monkeypatch.setattr(indexes, "_WALKS", walks)
    for part in (3, 2, 1):
        end = len(content) // part  # for lines this may be in the midst of one, which then goes on
        path.write_bytes(content[: content.rindex(b"\n", 0, end) + 1 if name == "x.csv" else end])
        assert index_now(tmp_path, path, name).total == sum(1 for _ in rows_of(path, name))
    assert read[0] == 0 and len(read) == 3 and all(read[1:])
    assert RowPages(path, name, tmp_path).page(40, 40) == list(rows_of(path, name))[40:]


def test_a_file_that_was_written_anew_is_indexed_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"n": 1}\n' * 500, encoding="utf-8")
    index_now(tmp_path, path, "x")
    path.write_text('{"n": 22}\n' * 600, encoding="utf-8")
    assert stored_index(tmp_path, path).covered == 0
    assert index_now(tmp_path, path, "x").total == 600


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "other", "gone"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, harm: str) -> None:
    path, other = tmp_path / "x.jsonl", tmp_path / "y.jsonl"
    for one in (path, other):
        one.write_text('{"n": 1}\n' * 100, encoding="utf-8")
        index_now(tmp_path, one, "x")
    file = index_file(tmp_path, path)
    content = file.read_bytes()
    harmed = {
        "cut": content[:-8],
        "flip": content[:-1] + bytes([content[-1] ^ 1]),
        "empty": b"",
        "other": index_file(tmp_path, other).read_bytes(),
    }
    file.unlink() if harm == "gone" else file.write_bytes(harmed[harm])
    assert load_index(file, path) is None
    assert index_now(tmp_path, path, "x").total == 100
    assert load_index(file, path) is not None


def test_an_index_that_is_not_whole_yet_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(100)), encoding="utf-8")
    index = begin_index(path)
    for number, _ in enumerate(indexes.carry_on(path, "x", index)):
        if number == 5:
            break
    save_index(index_file(tmp_path, path), index, path)
    kept = stored_index(tmp_path, path)
    assert 0 < kept.progress < 1 and 0 < kept.covered < kept.size
    assert index_now(tmp_path, path, "x").total == 100
    assert [row.row for row in RowPages(path, "x", tmp_path).page(50, 2)] == [51, 52]


def test_pages_come_at_once_and_far_ones_when_the_index_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real process in the background."""
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "x.jsonl"
    path.write_text("".join(f'{{"text": "{n}"}}\n' for n in range(5000)), encoding="utf-8")
    tree = {"x": {"file_name": "x.jsonl", "formatting": "text"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(tree), encoding="utf-8")
    workspace = Workspace(tmp_path)
    monkeypatch.setattr(pages, "SECONDS_A_PAGE", 0.0)
    near = open_pages(workspace, path).page(0, 3)
    assert [row.row for row in near] == [1, 2, 3]
    with pytest.raises(StillIndexing, match=r"data/x\.jsonl is being indexed \(0%\)"):
        open_pages(workspace, path).page(4000, 3)
    assert list_datasets(workspace)[0].rows is None
    deadline = time.monotonic() + 60
    while list_datasets(workspace)[0].indexed < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list_datasets(workspace)[0].rows == 5000
    assert [row.row for row in open_pages(workspace, path).page(4000, 3)] == [4001, 4002, 4003]
    assert [process.wait(10) for process in indexing._running.values()] in ([], [0])


def test_a_list_that_is_waited_for_has_all_counts(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.json").write_text(json.dumps([{"text": "a"}] * 700), encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text('{"x": {"file_name": "x.json"}}', encoding="utf-8")
    (row,) = list_datasets(Workspace(tmp_path), wait=True)
    assert (row.rows, row.indexed) == (700, 1.0)


def test_a_file_that_breaks_off_shows_what_comes_before(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" + ",".join(f'{{"n": {n}}}' for n in range(100)) + ', {"n": 100]', encoding="utf-8")
    found = RowPages(path, "x.json")
    assert found.places() is None
    assert found.progress() == 1
    assert [row.row for row in found.page(90, 5)] == [91, 92, 93, 94, 95]
    with pytest.raises(DataError, match=r"x\.json is not valid JSON"):
        found.page(99, 5)


def test_the_text_of_a_row_is_what_the_file_has(tmp_path: Path) -> None:
    for name, content, texts in (
        ("x.jsonl", '{"a": 1}\n\n{"a":\n', ['{"a": 1}', '{"a":', ""]),
        ("x.txt", "one\n two \n", ["one", " two ", ""]),
        ("x.csv", 'a,b\n1,"x\ny"\n3\n', ['1,"x\ny"', "3", ""]),
        ("x.json", '[{"a":1}]', ['{"a": 1}', ""]),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert [RowPages(tmp_path / name, name).text(place) for place in range(len(texts))] == texts


def test_an_index_that_cannot_be_made_is_not_tried_again_at_once(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be", encoding="utf-8")
    path = tmp_path / "x.jsonl"
    path.write_text("{}\n" * 10, encoding="utf-8")
    indexing.start_indexing(tmp_path / "cache", path)
    assert indexing._running[path].wait(30) != 0
    indexing.start_indexing(tmp_path / "cache", path)
    assert path not in indexing._running
    assert [row.row for row in RowPages(path, "x", tmp_path / "cache").page(0, 2)] == [1, 2]
