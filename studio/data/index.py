"""Where the rows of a huge file begin: marks every 64 KiB, kept on the disk and carried on where a file has grown."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from studio.data.csv_file import BYTE_ORDER_MARK
from studio.data.examples import DataError
from studio.data.files import array_of, csv_of, explained, kind_of, rows_from
from studio.data.marks import BEGINNING, Mark

BLOCK = 1 << 16  # bytes between two marks, at least
SAMPLES = 16  # places of a file by which it is known again
SAMPLE = 4096  # bytes of each
VERSION = 1

_BLANK_LINE = re.compile(rb"\n[ \t\r\x0b\x0c]*\n")


@dataclass
class Index:
    """The marks of one file as far as it was read: `covered` bytes with `total` rows. `size` and `modified_ns` are of
    the file that was read; `samples` tell whether what was covered is still the same."""

    size: int
    modified_ns: int
    rows: array[int] = field(default_factory=lambda: array("Q", [0]))
    lines: array[int] = field(default_factory=lambda: array("Q", [1]))
    offsets: array[int] = field(default_factory=lambda: array("Q", [0]))
    total: int = 0
    covered: int = 0
    samples: str = ""
    whole: bool = False
    broken: str = ""

    def before(self, row: int) -> Mark:
        """The last mark at or before a row (counted from 0)."""
        return self.mark(bisect_right(self.rows, row) - 1)

    def mark(self, number: int) -> Mark:
        """The mark with that number."""
        return Mark(self.rows[number], self.lines[number], self.offsets[number])

    def stretches(self, row: int) -> Iterator[tuple[Mark, int, int]]:
        """From the mark before a row on: each mark of a whole index, the number of the first row behind what belongs
        to it, and its bytes."""
        for number in range(bisect_right(self.rows, row) - 1, len(self.rows)):
            is_last = number + 1 == len(self.rows)
            end = self.size if is_last else self.offsets[number + 1]
            yield self.mark(number), self.total if is_last else self.rows[number + 1], end - self.offsets[number]

    @property
    def progress(self) -> float:
        """Share of the file that is covered."""
        return 1.0 if self.whole else min(0.99, self.covered / max(1, self.size))


def can_be_indexed(path: Path) -> bool:
    """Whether the file has marks: lines, csv and json that are not gzipped. Of the others only the rows are counted."""
    return path.suffix.lower() != ".gz" and kind_of(path) in _WALKS


def begin_index(path: Path) -> Index:
    """An index of nothing yet."""
    facts = path.stat()
    return Index(facts.st_size, facts.st_mtime_ns)


def carry_on(path: Path, source: str, index: Index) -> Iterator[Index]:
    """Read the file on from the last mark and put marks into `index`, which is yielded at each; the last time whole.

    Where the file stops being what its ending says, the index ends too, and is broken. Raises OSError.
    """
    walk = _WALKS[kind_of(path)] if can_be_indexed(path) else _count
    try:
        with explained(path, source):
            for mark in walk(path, source, index.mark(len(index.rows) - 1)):
                index.rows.append(mark.row)
                index.lines.append(mark.line)
                index.offsets.append(mark.offset)
                index.total, index.covered = mark.row, mark.offset
                yield index
    except DataError as error:
        index.broken = str(error)
    else:
        if len(index.rows) > 1:  # the last mark is the end of the file, behind which no row begins
            for column in (index.rows, index.lines, index.offsets):
                column.pop()
    index.covered, index.whole = index.size, True
    index.samples = _samples(path, index.covered)
    yield index


def complete(path: Path, source: str, index: Index) -> Index:
    """The same index, carried on to the end. Raises OSError."""
    for _ in carry_on(path, source, index):
        pass
    return index


def is_of(index: Index, path: Path) -> bool:
    """Whether the file is the one that was read, untouched since."""
    facts = path.stat()
    return (facts.st_size, facts.st_mtime_ns) == (index.size, index.modified_ns)


def grown(index: Index, path: Path) -> Index | None:
    """The index to carry on from when the file was only added to, None when it is another one."""
    facts = path.stat()
    if not index.whole or index.broken or facts.st_size <= index.covered or not can_be_indexed(path):
        return None
    if _samples(path, index.covered) != index.samples:
        return None
    last = index.mark(len(index.rows) - 1)
    return Index(
        facts.st_size, facts.st_mtime_ns, index.rows[:], index.lines[:], index.offsets[:], last.row, last.offset
    )


def index_file(cache: Path, path: Path) -> Path:
    """Where the index of a file is kept."""
    return cache / "index" / f"{hashlib.blake2b(str(path).encode(), digest_size=12).hexdigest()}.marks"


def save_index(file: Path, index: Index, path: Path) -> None:
    """Keep an index; a reader sees the old one or the new one. Raises OSError (disk full, read-only)."""
    if not index.whole:
        index.samples = _samples(path, index.covered)
    facts = {name: getattr(index, name) for name in _FACTS}
    head = json.dumps({"version": VERSION, "path": str(path), **facts, "marks": len(index.rows)})
    body = b"".join(column.tobytes() for column in (index.rows, index.lines, index.offsets))
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        draft.write_bytes(f"{digest} {head}\n".encode() + body)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def load_index(file: Path, path: Path) -> Index | None:
    """The index that is kept, whatever became of the file since; None when there is none or it is damaged."""
    try:
        content = file.read_bytes()
        line, body = content.split(b"\n", 1)
        digest, head = line.split(b" ", 1)
        tree = cast("Mapping[str, Any]", json.loads(head))
        whole = digest.decode() == hashlib.blake2b(body, digest_size=16).hexdigest()
        if tree["version"] != VERSION or tree["path"] != str(path) or not whole:
            return None
        columns = array("Q")
        columns.frombytes(body)
        count = int(tree["marks"])
        if len(columns) != 3 * count or not count:
            return None
        parts = (columns[:count], columns[count : 2 * count], columns[2 * count :])
        index = Index(tree["size"], tree["modified_ns"], *parts)
        index.total, index.covered, index.samples, index.whole, index.broken = (tree[name] for name in _FACTS[2:])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is made again
    return index


_FACTS = ("size", "modified_ns", "total", "covered", "samples", "whole", "broken")


def _samples(path: Path, covered: int) -> str:
    """A digest of some places of the first `covered` bytes, the first and the last among them."""
    digest = hashlib.blake2b(str(covered).encode(), digest_size=16)
    with path.open("rb") as stream:
        for number in range(SAMPLES + 1):
            stream.seek(max(0, covered - SAMPLE) * number // SAMPLES)
            digest.update(stream.read(min(SAMPLE, covered)))
    return digest.hexdigest()


def _walk_lines(path: Path, source: str, start: Mark) -> Iterator[Mark]:
    """Counts line ends in whole blocks, which is several times as fast as splitting lines."""
    row, line, offset = start.row, start.line, start.offset
    with path.open("rb") as stream:
        stream.seek(offset)
        while block := stream.read(BLOCK):
            block += b"" if block.endswith(b"\n") else stream.readline(BLOCK)
            size = len(block)
            block = block if offset else block.removeprefix(BYTE_ORDER_MARK)
            lines, blank = block.count(b"\n"), _blank_lines(block)
            if not block.endswith(b"\n"):  # the last line of the file, or one of many blocks
                length, filled = _rest_of_line(stream)
                filled = filled or bool(block[block.rfind(b"\n") + 1 :].strip())
                size, lines, blank = size + length, lines + 1, blank + (not filled)
            row, line, offset = row + lines - blank, line + lines, offset + size
            yield Mark(row, line, offset)


def _blank_lines(block: bytes) -> int:
    """Blank lines among those that end in the block, which begins with a line."""
    if not block[:1].isspace() and not _BLANK_LINE.search(block):
        return 0
    return sum(1 for line in block.split(b"\n")[:-1] if not line.strip())


def _rest_of_line(stream: IO[bytes]) -> tuple[int, bool]:
    """Length of the line's rest, and whether there is something in it."""
    length, filled = 0, False
    while part := stream.readline(BLOCK):
        length, filled = length + len(part), filled or bool(part.strip())
        if part.endswith(b"\n"):
            break
    return length, filled


def _walk_json(path: Path, source: str, start: Mark) -> Iterator[Mark]:
    with array_of(path, source, start) as reader:
        row, last = start.row, start.offset
        for _ in reader.elements():
            mark = reader.mark(row)
            if row > start.row and mark.offset - last >= BLOCK:
                last = mark.offset
                yield mark
            row += 1
        yield Mark(row, 0, path.stat().st_size)


def _walk_csv(path: Path, source: str, start: Mark) -> Iterator[Mark]:
    with csv_of(path, source) as reader:
        last = start.offset
        for record in reader.records(start):
            if record.mark.row > start.row and record.mark.offset - last >= BLOCK:
                last = record.mark.offset
                yield record.mark
        yield reader.place


def _count(path: Path, source: str, start: Mark) -> Iterator[Mark]:
    """Rows of a file in which reading cannot begin in the midst: their number is worth keeping too."""
    count = 0
    for _ in rows_from(path, source, BEGINNING):
        count += 1
    yield Mark(count, 0, path.stat().st_size)


_WALKS: Mapping[str, Callable[[Path, str, Mark], Iterator[Mark]]] = {
    "jsonl": _walk_lines,
    "txt": _walk_lines,
    "json": _walk_json,
    "csv": _walk_csv,
}
