"""The records of a csv or tsv file, each with the place where it begins and the text that it is made of."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from studio.data.examples import DataError
from studio.data.marks import BEGINNING, Mark

MOST_CHARACTERS_A_CELL = 1 << 26
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Record:
    """One record: where it begins, its cells, and its text with the end of its last line."""

    mark: Mark
    cells: list[str]
    text: str


class CsvReader:
    """Reads `stream`, which stands at its beginning. `source` is the file as messages name it.

    `names` are the columns that the first record names, `head` is that record's text. Raises DataError when they
    cannot be columns.
    """

    def __init__(self, stream: IO[bytes], source: str, *, tab: bool) -> None:
        csv.field_size_limit(MOST_CHARACTERS_A_CELL)
        self._stream, self._source = stream, source
        self._row, self._line, self._offset = 0, 1, 3 if stream.read(3) == BYTE_ORDER_MARK else 0
        stream.seek(self._offset)
        self._text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        self._ahead = self._text.readline()
        self.delimiter = "\t" if tab else max(",;\t", key=self._ahead.count)
        header = next(self._records(), None)
        self.names = _header(header.cells if header else [], source)
        self.head = header.text if header else ""
        self._row = 0

    @property
    def place(self) -> Mark:
        """Where the next record begins, at the end behind the last one."""
        return Mark(self._row, self._line, self._offset)

    def records(self, start: Mark = BEGINNING) -> Iterator[Record]:
        """Every record from `start` on. Raises DataError where the file stops being csv."""
        if start != BEGINNING:
            self._text.detach()
            self._stream.seek(start.offset)
            self._text = io.TextIOWrapper(self._stream, encoding="utf-8", newline="")
            self._row, self._line, self._offset = start.row, start.line, start.offset
        return self._records()

    def _records(self) -> Iterator[Record]:
        taken: list[str] = []
        reader = csv.reader(self._lines(taken), delimiter=self.delimiter, strict=True)
        try:
            for cells in reader:
                text, lines, place = "".join(taken), len(taken), self.place
                taken.clear()
                self._row += bool(cells)
                self._line += lines
                self._offset += len(text) if text.isascii() else len(text.encode())
                if cells:
                    yield Record(place, cells, text)
        except csv.Error as error:
            line = self._line + max(0, len(taken) - 1)
            raise DataError(f"{self._source} is not valid CSV: {error} (line {line}).") from None

    def _lines(self, taken: list[str]) -> Iterator[str]:
        while line := self._ahead or self._text.readline():
            self._ahead = ""
            taken.append(line)
            yield line


def _header(names: list[str], source: str) -> list[str]:
    names = [name.strip() for name in names]
    if not any(names):
        raise DataError(f"{source} holds no rows: its first line must name the columns.")
    if "" in names:
        raise DataError(f"{source} has a column without a name: column {names.index('') + 1} of its first line.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{source} names the column {twice!r} twice in its first line.")
    return names
