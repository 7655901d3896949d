"""The same rows come out of every kind of file, with the row and the line that an editor would show."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from studio.data.examples import BadRow, DataError
from studio.data.files import RawRow, rows_of
from studio.data.json_array import ArrayReader

ROWS = [{"instruction": f"q{n}", "output": f'a "{n}", ü\n二'} for n in range(5)]


def write(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    """`rows` in the kind of file that the name says."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    plain = path.with_name(path.name.removesuffix(".gz"))
    if kind == "json":
        plain.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    elif kind in ("jsonl", "ndjson"):
        plain.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind in ("csv", "tsv"):
        with plain.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="," if kind == "csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), plain, row_group_size=2)
    else:
        new = pa.ipc.new_stream if "stream" in path.name else pa.ipc.new_file
        table = pa.Table.from_pylist(rows)
        with new(plain, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    if path != plain:
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    return path


def values(path: Path) -> list[Any]:
    return [row.value if isinstance(row, RawRow) else str(row) for row in rows_of(path, path.name)]


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    "name", ["x.json", "x.jsonl", "x.ndjson", "x.csv", "x.tsv", "x.parquet", "x.arrow", "x.stream.arrow"]
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str, packed: str) -> None:
    path = write(tmp_path / (name + packed))
    assert values(path) == ROWS
    assert [row.row for row in rows_of(path, "x")] == [1, 2, 3, 4, 5]


def test_a_txt_file_gives_its_lines(tmp_path: Path) -> None:
    (tmp_path / "x.TXT").write_bytes("\ufeffone\r\n\r\ntwo\u2028three\r\n".encode())
    rows = list(rows_of(tmp_path / "x.TXT", "x"))
    assert rows == [RawRow("x", 1, "one", 1, plain=True), RawRow("x", 3, "two\u2028three", 3, plain=True)]


def test_rows_know_the_line_where_they_begin(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('\n[{"a": "1\\n"},\n\n  {"a":\n"2"}, {"a": "3"}\n]\n', encoding="utf-8")
    assert [row.line for row in rows_of(tmp_path / "x.json", "x")] == [2, 4, 5]
    (tmp_path / "x.csv").write_text('a\n"1\n1"\n\n2\n', encoding="utf-8")
    assert [(row.row, row.line) for row in rows_of(tmp_path / "x.csv", "x")] == [(1, 2), (2, 5)]


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.csv"])
def test_a_mark_at_the_start_and_windows_line_ends_change_nothing(tmp_path: Path, name: str) -> None:
    rows = [{"a": "1"}, {"a": "2"}]
    path = write(tmp_path / name, rows)
    text = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text)
    assert values(path) == rows


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_may_be_divided_by_semicolons(tmp_path: Path, delimiter: str) -> None:
    (tmp_path / "x.csv").write_text(f"a{delimiter}b\n1{delimiter}2\n", encoding="utf-8")
    assert values(tmp_path / "x.csv") == [{"a": "1", "b": "2"}]


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        write(tmp_path / name, [{"from": name}])
    (tmp_path / "README.md").write_text("no data", encoding="utf-8")
    (tmp_path / ".hidden.json").write_text("{", encoding="utf-8")
    rows = list(rows_of(tmp_path, "data/x"))
    assert [(row.source, row.row) for row in rows] == [("data/x/a.jsonl", 1), ("data/x/b.jsonl", 1)]


def test_a_folder_without_data_or_of_two_kinds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="The folder x holds no data file"):
        list(rows_of(tmp_path, "x"))
    write(tmp_path / "a.json")
    write(tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"mixes files of several kinds \(csv, json\)"):
        list(rows_of(tmp_path, "x"))


@pytest.mark.parametrize(
    ("codec", "text", "guess"),
    [
        ("cp1251", "Привет, как дела? Хорошо.", "Windows-1251"),
        ("koi8_r", "Привет, как дела? Хорошо.", "KOI8-R"),
        ("gb18030", "你好，我是一个语言模型。", "GBK"),
        ("shift_jis", "こんにちは、お元気ですか", "Shift-JIS"),
        ("euc_kr", "안녕하세요 반갑습니다", "EUC-KR"),
        ("cp1252", "Grüße aus Köln, façade, naïve", "Windows-1252"),
    ],
)
def test_another_encoding_is_named_with_line_and_guess(tmp_path: Path, codec: str, text: str, guess: str) -> None:
    lines = b'{"a": "fine"}\n{"a": "' + text.encode(codec) + b'"}\n{"a": "fine"}\n'
    (tmp_path / "x.jsonl").write_bytes(lines)
    first, bad, last = rows_of(tmp_path / "x.jsonl", "x.jsonl")
    assert isinstance(first, RawRow)
    assert isinstance(last, RawRow)
    assert isinstance(bad, BadRow)
    assert (bad.row, bad.problem) == (2, "encoding")
    assert guess in bad.reason
    (tmp_path / "x.json").write_bytes(b"[" + lines.rstrip().replace(b"\n", b",\n") + b"]")
    with pytest.raises(DataError, match=rf"is not UTF-8 text \(line 2, byte .*{guess}"):
        list(rows_of(tmp_path / "x.json", "x.json"))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_a_list_is_read_the_same_in_chunks_of_any_size(tmp_path: Path, size: int, monkeypatch: Any) -> None:
    from studio.data import json_array

    monkeypatch.setattr(json_array, "CHUNK", size)
    rows = [{"a": "x" * 20, "b": [1, {"c": None}]}, 12345, "ü\\", -1.5e3, True, [], {"二": "🙂"}]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    with path.open(encoding="utf-8", newline="") as stream:
        found = list(ArrayReader(stream, "x.json").elements())
    assert [value for _, value in found] == rows
    lines = path.read_text(encoding="utf-8").split("\n")
    assert [lines[line - 1].strip()[:1] for line, _ in found] == ["{", "1", '"', "-", "t", "[", "{"]
