"""From a file or folder to its raw rows: json, jsonl, csv, tsv, parquet, arrow and txt, each also gzipped."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from studio.data.csv_file import CsvReader
from studio.data.encoding import broken_byte, guess_encoding, name_of_mark
from studio.data.examples import BadRow, DataError
from studio.data.json_array import ArrayReader
from studio.data.marks import BEGINNING, Mark
from studio.data.tables import open_table

KINDS: Mapping[str, str] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "txt",
}
MOST_BYTES_A_LINE = 1 << 26


@dataclass(frozen=True)
class RawRow:
    """One row as it stands in the file. `row` counts from 1; `line` is 0 in files that have no lines.

    `plain` says that the value is a line of text, not an object of columns.
    """

    source: str
    row: int
    value: Any
    line: int = 0
    plain: bool = False


RawRows = Iterator[RawRow | BadRow]


def kind_of(path: Path) -> str:
    """What the ending says: json, jsonl, csv, parquet, arrow or txt, "" for anything else; .gz is looked through."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return KINDS.get(suffixes[-1], "") if suffixes else ""


def files_of(path: Path, source: str) -> list[Path]:
    """The file itself or, for a folder, the data files in it, sorted. Raises DataError when there is none."""
    if not path.is_dir():
        return [path]
    names = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    found = [file for file in names if kind_of(file)]
    if not found:
        raise DataError(f"The folder {source} holds no data file. It may hold: {', '.join(KINDS)}.")
    if len({kind_of(file) for file in found}) > 1:
        endings = ", ".join(sorted({kind_of(file) for file in found}))
        raise DataError(f"The folder {source} mixes files of several kinds ({endings}). Keep one kind in it.")
    return found


def rows_of(path: Path, source: str) -> RawRows:
    """Each raw row of a file or folder; a row that cannot be read comes as a BadRow, and reading goes on.

    Raises DataError for a kind of file that is not known and where a file stops being what its ending says.
    """
    for file in files_of(path, source):
        name = source if file == path else f"{source}/{file.name}"
        yield from rows_from(file, name, BEGINNING)


def rows_from(file: Path, name: str, start: Mark) -> RawRows:
    """Each raw row of one file from `start` on, which must be one of its own marks; of parquet and arrow files only
    its row counts. Raises DataError like `rows_of`."""
    read = _READERS.get(kind_of(file))
    if read is None:
        ending = file.suffix or "no ending"
        raise DataError(
            f"{name} cannot be read: {ending} is not supported, only {', '.join(KINDS)}, each also with .gz. "
            "Convert it to one of them."
        )
    with explained(file, name):
        yield from read(file, name, start)


@contextmanager
def explained(file: Path, name: str) -> Generator[None]:
    """Turns what goes wrong while a data file is read into a DataError that names it."""
    try:
        try:
            yield
        except UnicodeDecodeError:
            raise _not_utf8(file, name) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name} is no whole gzip file: {error}. Pack or fetch it again.") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}.") from None


@contextmanager
def opened(path: Path) -> Generator[IO[bytes]]:
    """The file's bytes, unpacked where its name ends in .gz."""
    if path.suffix.lower() == ".gz":
        with gzip.open(path, "rb") as stream:
            yield cast("IO[bytes]", stream)
    else:
        with path.open("rb") as stream:
            yield stream


def line_value(raw: bytes, source: str, number: int, *, plain: bool = False) -> RawRow | BadRow:
    """The value of one line of a jsonl file or, with `plain`, of a txt file."""
    text = _line_text(raw, source, number)
    if isinstance(text, BadRow):
        return text
    if plain:
        return RawRow(source, number, text, number, plain=True)
    try:
        return RawRow(source, number, json.loads(text), number)
    except json.JSONDecodeError as error:
        reason = f"it is not valid JSON: {error.msg} at column {error.colno}."
    except RecursionError:
        reason = "it is not valid JSON: it is nested too deeply."
    except ValueError as error:  # a number of more digits than Python reads
        reason = f"it is not valid JSON: {error}."
    return BadRow(source, number, reason, number, "not_json")


def _line_text(raw: bytes, source: str, number: int) -> str | BadRow:
    if len(raw) >= MOST_BYTES_A_LINE:
        return BadRow(source, number, f"it is longer than {MOST_BYTES_A_LINE:,} bytes.", number, "not_json")
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        reason = (
            f"it is not UTF-8 text (byte {error.start + 1} of the line); it looks like {guess_encoding(raw)}. "
            "Save the file as UTF-8."
        )
        return BadRow(source, number, reason, number, "encoding")


def raw_lines(path: Path, source: str, start: Mark) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line of a jsonl or txt file that is not blank; of an overlong one its beginning."""
    with opened(path) as stream:
        stream.seek(start.offset)
        number = start.line - 1
        while line := stream.readline(MOST_BYTES_A_LINE):
            number += 1
            if number == 1:
                _refuse_mark(line, source)
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield number, line
            while len(line) == MOST_BYTES_A_LINE and not line.endswith(b"\n"):
                line = stream.readline(MOST_BYTES_A_LINE)


def _lines(path: Path, source: str, start: Mark, plain: bool) -> RawRows:
    for number, raw in raw_lines(path, source, start):
        yield line_value(raw, source, number, plain=plain)


def _json(path: Path, source: str, start: Mark) -> RawRows:
    with array_of(path, source, start) as reader:
        for row, (line, value) in enumerate(reader.elements(), start=start.row + 1):
            yield RawRow(source, row, value, line)


@contextmanager
def array_of(path: Path, source: str, start: Mark) -> Generator[ArrayReader]:
    """The rows of a .json file from `start` on."""
    with opened(path) as stream:
        head = stream.read(4)
        _refuse_mark(head, source)
        if start == BEGINNING and head.startswith(b"\xef\xbb\xbf"):
            start = Mark(offset=3)
        stream.seek(start.offset)
        yield ArrayReader(io.TextIOWrapper(stream, encoding="utf-8", newline=""), source, start)


def _csv(path: Path, source: str, start: Mark) -> RawRows:
    with csv_of(path, source) as reader:
        for record in reader.records(start):
            at = RawRow(source, record.mark.row + 1, None, record.mark.line)
            yield csv_row(record.cells, reader.names, at)


@contextmanager
def csv_of(path: Path, source: str) -> Generator[CsvReader]:
    """The records of a .csv or .tsv file."""
    with opened(path) as stream:
        _refuse_mark(stream.read(4), source)
        stream.seek(0)
        yield CsvReader(stream, source, tab=path.name.lower().removesuffix(".gz").endswith(".tsv"))


def csv_row(cells: list[str], names: list[str], at: RawRow) -> RawRow | BadRow:
    """The row at the place of `at` that a record's cells make."""
    if len(cells) != len(names):
        reason = f"it has {len(cells)} cells, but the first line names {len(names)} columns."
        return BadRow(at.source, at.row, reason, at.line, "type")
    return RawRow(at.source, at.row, dict(zip(names, cells, strict=True)), at.line)


def _columns(path: Path, source: str, start: Mark) -> RawRows:
    with opened(path) as stream, open_table(stream, kind_of(path), source) as table:
        yield from (RawRow(source, row, value) for row, value in table.rows(start.row))


_READERS: Mapping[str, Callable[[Path, str, Mark], RawRows]] = {
    "txt": partial(_lines, plain=True),
    "jsonl": partial(_lines, plain=False),
    "json": _json,
    "csv": _csv,
    "parquet": _columns,
    "arrow": _columns,
}


def _refuse_mark(head: bytes, source: str) -> None:
    name = name_of_mark(head)
    if name:
        raise DataError(f"{source} is not UTF-8 text: it begins with the mark of {name}. Save it as UTF-8.", "encoding")


def _not_utf8(path: Path, source: str) -> DataError:
    with opened(path) as stream:
        line, column, guess = broken_byte(stream)
    return DataError(
        f"{source} is not UTF-8 text (line {line}, byte {column} of it); it looks like {guess}. Save it as UTF-8.",
        "encoding",
    )
