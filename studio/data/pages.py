"""Any page of a huge file at once: the rows from one place on, without reading those before it."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from studio.data.examples import BadRow
from studio.data.files import MOST_BYTES_A_LINE, RawRow, kind_of, line_value, opened, rows_of
from studio.data.tables import open_table

BLOCK = 1 << 16  # bytes between two known places of a file


@dataclass(frozen=True)
class RowPages:
    """Pages of raw rows of one file. `source` is what messages call it.

    In .jsonl and .txt files a place is a line and blank lines are left out of their page; in parquet and arrow files
    the parts before a page are passed over unread. The other kinds have no way in but from the start: their pages
    cost the more the later they come.
    """

    path: Path
    source: str

    def page(self, start: int, count: int) -> list[RawRow | BadRow]:
        """At most `count` rows from place `start` (from 0) on. Raises DataError for a file that cannot be read."""
        kind = kind_of(self.path)
        packed = self.path.suffix.lower() == ".gz"
        if kind in ("jsonl", "txt") and not packed and self.path.is_file():
            return list(self._lines(start, count, kind))
        if kind in ("parquet", "arrow") and self.path.is_file():
            with opened(self.path) as stream, open_table(stream, kind, self.source) as table:
                return [RawRow(self.source, row, value) for row, value in islice(table.rows(start), count)]
        return list(islice(rows_of(self.path, self.source), start, start + count))

    def places(self) -> int | None:
        """How many places there are: lines or rows; None where only reading the whole file would tell."""
        kind = kind_of(self.path)
        if self.path.is_dir() or self.path.suffix.lower() == ".gz":
            return None
        if kind in ("jsonl", "txt"):
            facts = self.path.stat()
            return _index(self.path, facts.st_mtime_ns, facts.st_size).lines
        if kind in ("parquet", "arrow"):
            with opened(self.path) as stream, open_table(stream, kind, self.source) as table:
                return None if table.sizes is None else sum(table.sizes)
        return None

    def _lines(self, start: int, count: int, kind: str) -> Iterator[RawRow | BadRow]:
        with self.path.open("rb") as stream:
            line = 0
            if start:
                facts = self.path.stat()
                line, offset = _index(self.path, facts.st_mtime_ns, facts.st_size).before(start)
                stream.seek(offset)
            while line < start + count and (raw := stream.readline(MOST_BYTES_A_LINE)):
                while len(raw) == MOST_BYTES_A_LINE and not raw.endswith(b"\n") and stream.readline(MOST_BYTES_A_LINE):
                    pass
                line += 1
                if line > start and raw.strip():
                    raw = raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw
                    yield line_value(raw, self.source, line, plain=kind == "txt")


@dataclass(frozen=True)
class _Index:
    """For each block of a file: how many lines end before it, and where the first line that begins in it lies."""

    ended: array[int]
    offsets: array[int]
    lines: int

    def before(self, line: int) -> tuple[int, int]:
        """A line (counted from 0) at or before `line`, and its offset in bytes."""
        place = bisect_right(self.ended, line) - 1
        return self.ended[place], self.offsets[place]


@lru_cache(maxsize=64)
def _index(path: Path, modified_ns: int, size: int) -> _Index:
    """The index of the file as it was at that time and size; 16 bytes for each block of 64 KiB.

    Counting line ends in whole blocks is several times faster than splitting lines, and needs no file of its own:
    it is made anew when the server starts.
    """
    ended, offsets, lines, offset, last = array("Q", [0]), array("Q", [0]), 0, 0, b"\n"
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            first = block.find(b"\n")
            if first >= 0:
                ended.append(lines + 1)
                offsets.append(offset + first + 1)
                lines += block.count(b"\n")
            offset, last = offset + len(block), block[-1:]
    return _Index(ended, offsets, lines + (last != b"\n"))
