"""A search finds the rows that answer, in a stream, a little at each call, in the file and in a draft of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.data import index, pages
from studio.data.check import check_dataset
from studio.data.editing import Draft
from studio.data.examples import DataError
from studio.data.searching import search
from tests.data.test_files import write

ROWS: list[dict[str, Any]] = [
    {"instruction": "Name a COLOUR", "output": "Blue sky"},
    {"instruction": "blue?", "output": "No, straße"},
    {"instruction": "二", "output": 'say "hi" at http://x.org/a'},
    {"instruction": "num", "input": "", "output": "tab\tend", "history": [["deep blue", "sea"]]},
    {"instruction": "K\u212aelvin", "output": "Ünicode"},
]


def room(root: Path, name: str = "x.jsonl", rows: list[dict[str, Any]] = ROWS, text: str | None = None) -> Workspace:
    (root / "data").mkdir(exist_ok=True)
    if text is None:
        write(root / "data" / name, rows)
    else:
        (root / "data" / name).write_text(text, encoding="utf-8")
    (root / "dataset_info.json").write_text(json.dumps({"d": {"file_name": name}}), encoding="utf-8")
    return Workspace(root)


def places(workspace: Workspace, query: str, **options: Any) -> list[int]:
    return [row.place for row in search(workspace, "d", query, **options).rows]


QUERIES = [
    ("", [0, 1, 2, 3, 4]),
    ("blue", [0, 1, 3]),
    ("BLUE sky", [0]),
    ('"blue sky"', [0]),
    ("output:blue", [0]),
    ('instruction:"a colour"', [0]),
    ("Instruction:blue", [1]),
    ("strasse", [1]),
    ("二", [2]),
    ('"http://x.org"', [2]),
    ("http://x.org", [2]),
    ("nowhere:blue", []),
    ("end", [3]),
    ("nend", []),
    ("kk", [4]),
    ("ÜNICODE", [4]),
    ("instruction", []),
    ("deep", [3]),
]


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize(("query", "expected"), QUERIES)
def test_words_are_found_in_values_in_whatever_case(
    tmp_path: Path, query: str, expected: list[int], ascii_only: bool
) -> None:
    text = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in ROWS)
    assert places(room(tmp_path, text=text), query) == expected


@pytest.mark.parametrize("name", ["x.json", "x.parquet", "x.jsonl.gz", "x.csv"])
def test_every_kind_of_file_can_be_searched(tmp_path: Path, name: str) -> None:
    rows = [{"instruction": f"q{n}", "output": f"a{n % 3}"} for n in range(30)]
    workspace = room(tmp_path, name, rows)
    assert places(workspace, "output:a1") == list(range(1, 30, 3))


def test_kinds_roles_and_findings(tmp_path: Path) -> None:
    lines = [
        {"instruction": "a", "output": "b"},
        {"instruction": "a", "output": "b", "system": "s"},
        {"instruction": "", "output": "b"},
        {"instruction": "a"},
        {"instruction": "ÃƒÂ© cafÃ© Ã¼ber", "output": "b"},
    ]
    workspace = room(tmp_path, text="".join(json.dumps(row) + "\n" for row in lines) + "{broken\n")
    assert places(workspace, "is:broken") == [2, 3, 5]
    assert places(workspace, "is:not_json") == [5]
    assert places(workspace, "is:missing") == [3]
    assert places(workspace, "is:chat") == [0, 1, 4]
    assert places(workspace, "has:system") == [1]
    assert places(workspace, "is:damaged") == [4]
    assert places(workspace, "is:chat has:system b") == [1]
    for query in ("is:odd", "has:odd", "is:changed"):
        with pytest.raises(DataError, match=r"is unknown\. There are:"):
            places(workspace, query)


def test_only_some_places_such_as_those_of_a_finding(tmp_path: Path) -> None:
    rows = [{"instruction": f"q{n % 50}", "output": "a"} for n in range(200)]
    workspace = room(tmp_path, rows=rows)
    report = check_dataset(workspace, "d", near=False)
    only = report.rows_with(["duplicate"])
    assert places(workspace, "", only=only, limit=1000) == list(range(50, 200))
    assert places(workspace, "q7", only=only) == [57, 107, 157]
    first = search(workspace, "d", "", limit=3, only=only)
    assert ([row.place for row in first.rows], first.next, first.done) == ([50, 51, 52], 53, False)


def test_a_search_goes_on_where_it_stopped(tmp_path: Path) -> None:
    workspace = room(tmp_path, rows=[{"instruction": f"q{n}", "output": "ab"[n % 2]} for n in range(50)])
    found, after, calls = list[int](), 0, 0
    while True:
        part = search(workspace, "d", "output:b", after, 4)
        found += [row.place for row in part.rows]
        after, calls = part.next, calls + 1
        if part.done:
            break
    assert (found, calls, after) == (list(range(1, 50, 2)), 7, 50)
    part = search(workspace, "d", "nowhere", 0, 4, seconds=0.0)
    assert (part.rows, part.next, part.done, part.looked) == ([], 1, False, 1)


def test_a_draft_is_searched_as_it_stands(tmp_path: Path) -> None:
    workspace = room(tmp_path)
    draft = Draft.open(workspace, "d")
    draft.change(1, {"instruction": "red", "output": "r"})
    draft.remove([0])
    draft.add({"instruction": "blue", "output": "new"}, 2)
    draft.add({"instruction": "green", "output": "new"}, None)
    assert places(workspace, "blue", draft=draft) == [0, 3, -1]
    assert places(workspace, "red", draft=draft) == [1]
    assert places(workspace, "straße", draft=draft) == []
    assert places(workspace, "is:changed", draft=draft) == [1]
    assert places(workspace, "is:removed", draft=draft) == [0]
    assert places(workspace, "is:added", draft=draft) == [-1, -2]
    first = search(workspace, "d", "new", limit=1, draft=draft)
    rest = search(workspace, "d", "new", first.next, draft=draft)
    assert [row.place for row in (*first.rows, *rest.rows)] == [-1, -2]
    assert rest.done


def test_a_file_that_is_being_indexed_is_searched_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = room(tmp_path, rows=[{"instruction": f"q{n}", "output": "a"} for n in range(300)])
    monkeypatch.setattr(pages, "AT_ONCE", {})
    monkeypatch.setattr(pages, "SECONDS_A_PAGE", 0.0)
    monkeypatch.setattr(pages, "start_indexing", lambda cache, path: None)
    assert places(workspace, "q299") == [299]
    part = search(workspace, "d", "q299", 200)
    assert (part.rows, part.next, part.done) == ([], 200, False)


@pytest.mark.parametrize("block", [8, 64, 400, 1 << 16])
def test_a_search_from_mark_to_mark_finds_what_reading_finds(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "BLOCK", block)
    pages._indexes.clear()
    rows = [{"instruction": f"q{n}", "output": "needle É" if n % 17 == 3 else "hay" * (n % 40)} for n in range(150)]
    lines = [json.dumps(row, ensure_ascii=n % 2 == 0) + "\n" * (1 + n % 3) for n, row in enumerate(rows)]
    workspace = room(tmp_path, text="\ufeff\n" + "".join(lines))
    expected = list(range(3, 150, 17))
    for query in ("needle", "é", "NEEDLE output:é"):
        assert places(workspace, query) == expected
        for after in range(0, 152, 7):
            assert places(workspace, query, after=after) == [place for place in expected if place >= after]
    found = search(workspace, "d", "nowhere")
    assert (found.next, found.done) == (150, True)
