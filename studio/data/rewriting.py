"""Writes the rows of a file anew with the edits of a draft, in a stream; what was not edited is copied as it stands."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from studio.data.edits import Edits
from studio.data.examples import BadRow, DataError
from studio.data.files import array_of, csv_of, explained, kind_of, opened, rows_of
from studio.data.marks import BEGINNING
from studio.data.tables import Table, open_table

ROWS_BETWEEN_REPORTS = 2000
ROWS_A_PART, BYTES_A_PART = 1 << 16, 1 << 26  # of a columnar file, at least

Progress = Callable[[int], None]
Values = Mapping[str, Any]


class _Output:
    """Where rows go: counts them, says how far it is, and knows which rows come before which."""

    def __init__(self, edits: Edits, progress: Progress | None) -> None:
        self.edits, self.rows, self.place, self._progress = edits, 0, 0, progress

    def wrote(self, count: int = 1) -> None:
        """Count rows that were written."""
        self.rows += count
        if self._progress is not None and (count > 1 or self.rows % ROWS_BETWEEN_REPORTS == 0):
            self._progress(self.rows)

    def next(self) -> tuple[bool, list[Values]]:
        """What becomes of the next row of the file: whether it is copied, and the rows that come instead or behind."""
        place, edits = self.place, self.edits
        self.place += 1
        fresh = [cast("Values", edits.values[added]) for added in edits.behind(place)] if edits.added else []
        if edits.removed and edits.is_removed(place):
            return False, fresh
        if place in edits.values:
            return False, [cast("Values", edits.values[place]), *fresh]
        return True, fresh

    def tail(self) -> list[Values]:
        """The rows behind the last row of all files."""
        return [cast("Values", self.edits.values[place]) for place in self.edits.behind_all()]


def fits(path: Path, edits: Edits) -> str:
    """Why the edited rows cannot be written in the kind of file that this is; "" when they can."""
    reason = _FITS[kind_of(path)](path)
    return next((found for value in edits.written() if (found := reason(value))), "")


def rewrite(files: Sequence[tuple[Path, str]], targets: Sequence[Path], edits: Edits, progress: Progress | None) -> int:
    """Write each file (with its name in messages) to its target, in the same kind; how many rows there are in all.

    Raises DataError where a file cannot be read, OSError from the disk.
    """
    output = _Output(edits, progress)
    for number, ((path, source), target) in enumerate(zip(files, targets, strict=True), start=1):
        with explained_reading(path, source), _writing(target, path.suffix.lower() == ".gz") as stream:
            _REWRITERS[kind_of(path)](path, source, stream, output, number == len(files))
    return output.rows


def rewrite_as_lines(path: Path, source: str, target: Path, edits: Edits, progress: Progress | None) -> int:
    """Write a file or folder of any kind as one .jsonl file. Raises DataError for a broken row that was not edited."""
    output = _Output(edits, progress)
    with _writing(target, False) as stream:
        for row in rows_of(path, source):
            copied, fresh = output.next()
            if copied and isinstance(row, BadRow):
                raise DataError(f"{row} Correct or remove it: the new version is written as JSON lines.")
            kept = [{"text": row.value} if row.plain else row.value] if copied and not isinstance(row, BadRow) else []
            _write_lines(stream, [*kept, *fresh], output)
        _write_lines(stream, output.tail(), output)
    return output.rows


@contextmanager
def explained_reading(path: Path, source: str) -> Generator[None]:
    """Like `explained`, but an error of the disk that is written to stays what it is."""
    try:
        with explained(path, source):
            yield
    except DataError as error:
        if isinstance(error.__context__, OSError) and error.__context__.errno:
            raise error.__context__ from None
        raise


@contextmanager
def _writing(target: Path, packed: bool) -> Generator[IO[bytes]]:
    """A new file, gzipped when `packed`, forced to the disk at the end."""
    with target.open("xb") as file:
        if packed:
            with gzip.open(file, "wb", compresslevel=6) as stream:
                yield cast("IO[bytes]", stream)
        else:
            yield file
        file.flush()
        os.fsync(file.fileno())


def _write_lines(stream: IO[bytes], values: Sequence[Any], output: _Output) -> None:
    for value in values:
        try:
            stream.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
        except TypeError as error:
            raise DataError(f"A row cannot be written as JSON: {error}.") from None
        output.wrote()


def _lines(path: Path, source: str, stream: IO[bytes], output: _Output, last: bool) -> None:
    _text_lines(path, stream, output, last, lambda values: _write_lines(stream, values, output))


def _plain_lines(path: Path, source: str, stream: IO[bytes], output: _Output, last: bool) -> None:
    def write(values: Sequence[Values]) -> None:
        for value in values:
            stream.write(str(value["text"]).encode() + b"\n")
            output.wrote()

    _text_lines(path, stream, output, last, write)


def _text_lines(
    path: Path, stream: IO[bytes], output: _Output, last: bool, write: Callable[[Sequence[Values]], None]
) -> None:
    """Lines that were not edited are copied byte by byte, broken ones too; blank ones are left out."""
    with opened(path) as old:
        for line in _whole_lines(old):
            if not line.strip():
                continue
            copied, fresh = output.next()
            if copied:
                stream.write(line if line.endswith(b"\n") else line + b"\n")
                output.wrote()
            write(fresh)
    if last:
        write(output.tail())


def _whole_lines(stream: IO[bytes]) -> Iterator[bytes]:
    first = stream.readline().removeprefix(b"\xef\xbb\xbf")
    if first:
        yield first
    yield from stream


def _array(path: Path, source: str, stream: IO[bytes], output: _Output, last: bool) -> None:
    before = output.rows

    def write(text: str) -> None:
        stream.write((",\n" if output.rows > before else "[\n").encode() + text.encode())
        output.wrote()

    with array_of(path, source, BEGINNING) as reader:
        for _ in reader.elements():
            copied, fresh = output.next()
            if copied:
                write(reader.raw)
            for value in fresh:
                write(json.dumps(value, ensure_ascii=False))
    for value in output.tail() if last else []:
        write(json.dumps(value, ensure_ascii=False))
    stream.write(b"\n]\n" if output.rows > before else b"[]\n")


def _csv(path: Path, source: str, stream: IO[bytes], output: _Output, last: bool) -> None:
    with csv_of(path, source) as reader:
        ending = "\r\n" if reader.head.endswith("\r\n") else "\n"
        stream.write(_ended(reader.head, ending).encode())
        for record in reader.records():
            copied, fresh = output.next()
            if copied:
                stream.write(_ended(record.text, ending).encode())
                output.wrote()
            _write_cells(stream, reader.names, reader.delimiter, ending, fresh, output)
        if last:
            _write_cells(stream, reader.names, reader.delimiter, ending, output.tail(), output)


def _ended(text: str, ending: str) -> str:
    return text if text.endswith(("\n", "\r")) else text + ending


def _write_cells(
    stream: IO[bytes], names: list[str], delimiter: str, ending: str, values: Sequence[Values], output: _Output
) -> None:
    for value in values:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=delimiter, lineterminator=ending).writerow([value.get(name, "") for name in names])
        stream.write(text.getvalue().encode())
        output.wrote()


def _table(path: Path, source: str, stream: IO[bytes], output: _Output, last: bool) -> None:
    """Batches without an edit are copied as they are, without becoming Python objects."""
    import pyarrow
    from pyarrow import parquet

    arrow, parquets = cast("Any", pyarrow), cast("Any", parquet)
    with opened(path) as old, open_table(old, kind_of(path), source) as table:
        schema = table.schema
        if kind_of(path) == "parquet":
            writer = parquets.ParquetWriter(stream, schema)
        else:
            writer = (arrow.ipc.new_file if table.sizes is not None else arrow.ipc.new_stream)(stream, schema)
        with writer:
            for part in _parts(arrow, table, output, last):
                writer.write_table(part)
                output.wrote(part.num_rows)


def _parts(arrow: Any, table: Table, output: _Output, last: bool) -> Iterator[Any]:
    """Tables of many batches each, since every one becomes a part of the file."""
    kept, schema = list[Any](), table.schema
    for batch in table.batches():
        first, output.place = output.place, output.place + batch.num_rows
        if output.edits.touches(first, output.place):
            output.place = first
            values: list[Any] = []
            for value in batch.to_pylist():
                copied, fresh = output.next()
                values += [value, *fresh] if copied else fresh
            batch = arrow.RecordBatch.from_pylist(values, schema=schema)
        kept.append(batch)
        if sum(batch.num_rows for batch in kept) >= ROWS_A_PART or sum(batch.nbytes for batch in kept) >= BYTES_A_PART:
            yield arrow.Table.from_batches(kept, schema)
            kept = []
    tail = output.tail() if last else []
    yield arrow.Table.from_batches([*kept, arrow.RecordBatch.from_pylist(tail, schema=schema)], schema)


def _fits_always(path: Path) -> Callable[[Values], str]:
    return lambda value: ""


def _fits_text(path: Path) -> Callable[[Values], str]:
    def reason(value: Values) -> str:
        text = value.get("text")
        if set(value) != {"text"} or not isinstance(text, str):
            return "a line of text has no columns but text"
        return "a line cannot hold a line break" if "\n" in text else "" if text.strip() else "a line cannot be blank"

    return reason


def _fits_csv(path: Path) -> Callable[[Values], str]:
    with csv_of(path, path.name) as reader:
        names = reader.names

    def reason(value: Values) -> str:
        strange = next((name for name in value if name not in names), None)
        if strange is not None:
            return f"the file has no column {strange!r}"
        odd = next((name for name, cell in value.items() if not isinstance(cell, str)), None)
        return f"{odd!r} is not text" if odd is not None else ""

    return reason


def _fits_table(path: Path) -> Callable[[Values], str]:
    import pyarrow

    arrow = cast("Any", pyarrow)
    with opened(path) as stream, open_table(stream, kind_of(path), path.name) as table:
        schema = table.schema

    def reason(value: Values) -> str:
        strange = next((name for name in value if name not in schema.names), None)
        if strange is not None:
            return f"the file has no column {strange!r}"
        try:
            kept = arrow.RecordBatch.from_pylist([value], schema=schema).to_pylist()[0]
        except arrow.ArrowException as error:
            return " ".join(str(error).split())
        lost = next((name for name in value if kept[name] != value[name]), None)
        return f"the column {lost!r} cannot hold its value" if lost is not None else ""

    return reason


_FITS: Mapping[str, Callable[[Path], Callable[[Values], str]]] = {
    "jsonl": _fits_always,
    "json": _fits_always,
    "txt": _fits_text,
    "csv": _fits_csv,
    "parquet": _fits_table,
    "arrow": _fits_table,
}

_REWRITERS: Mapping[str, Callable[[Path, str, IO[bytes], _Output, bool], None]] = {
    "jsonl": _lines,
    "json": _array,
    "txt": _plain_lines,
    "csv": _csv,
    "parquet": _table,
    "arrow": _table,
}
