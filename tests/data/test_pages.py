"""A page holds the rows of its place, wherever it lies in the file and however the file is cut into blocks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from studio.data import index, pages
from studio.data.examples import BadRow
from studio.data.files import RawRow
from studio.data.pages import RowPages
from tests.data.test_files import write


def numbers(path: Path, start: int, count: int) -> list[int]:
    """The value `n` of each row of a page."""
    return [row.value["n"] for row in RowPages(path, path.name).page(start, count) if isinstance(row, RawRow)]


@pytest.fixture(autouse=True)
def forget() -> None:
    pages._indexes.clear()


@pytest.mark.parametrize("block", [1, 5, 16, 1000])
@pytest.mark.parametrize("ending", ["\n", ""])
def test_every_page_of_lines_holds_its_rows(tmp_path: Path, block: int, ending: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(index, "BLOCK", block)
    path = tmp_path / "x.jsonl"
    lines = [json.dumps({"n": n, "text": "x" * (n % 7 * 5)}) for n in range(40)]
    path.write_text("\n".join(lines) + ending, encoding="utf-8")
    for start in range(42):
        assert numbers(path, start, 3) == list(range(start, min(start + 3, 40)))
    assert RowPages(path, "x").places() == 40


def test_a_page_names_broken_lines_and_leaves_blank_ones_out(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('\ufeff{"n": 0}\n\n{"n": 2\n{"n": 3}\n', encoding="utf-8")
    first, bad, last = RowPages(path, "x").page(0, 10)
    assert isinstance(first, RawRow)
    assert isinstance(bad, BadRow)
    assert [row.row for row in (first, bad, last)] == [1, 3, 4]


def test_a_changed_file_has_new_pages(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"n": n} for n in range(10)])
    assert numbers(path, 8, 5) == [8, 9]
    write(path, [{"n": n} for n in range(100, 120)])
    os.utime(path, ns=(1, 1))
    assert numbers(path, 8, 2) == [108, 109]


@pytest.mark.parametrize(
    "name", ["x.json", "x.csv", "x.parquet", "x.arrow", "x.stream.arrow", "x.jsonl.gz", "x.parquet.gz"]
)
def test_every_kind_of_file_has_pages(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [{"n": str(n)} for n in range(11)])
    for start in range(12):
        found = RowPages(path, name).page(start, 4)
        assert [row.row for row in found] == list(range(start + 1, min(start + 4, 11) + 1))
        assert numbers(path, start, 4) == [str(n) for n in range(start, min(start + 4, 11))]
    assert RowPages(path, name).places() == 11


def test_a_page_of_a_columnar_file_reads_no_part_before_it(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table({"n": list(range(4000))}), path, row_group_size=1000)
    whole = path.read_bytes()
    path.write_bytes(b"PAR1" + bytes(200) + whole[204:])  # the first part is destroyed
    assert numbers(path, 3990, 5) == [3990, 3991, 3992, 3993, 3994]
