"""Columnar files, parquet and arrow: their rows from any place on, and how many there are."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any, cast

from studio.data.examples import DataError

ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Table:
    """An open columnar file. `sizes` are the rows of its parts, `part` makes batches of the part with that number.
    `schema` is arrow's.

    Arrow's streams know neither before they are read: then `sizes` is None and part 0 is all of it.
    """

    sizes: tuple[int, ...] | None
    part: Callable[[int], Iterator[Any]]
    schema: Any

    def batches(self) -> Iterator[Any]:
        """All batches, each seen to be whole: a damaged one that is used unchecked ends the process."""
        for number in range(1 if self.sizes is None else len(self.sizes)):
            for batch in self.part(number):
                batch.validate(full=True)
                yield batch

    def rows(self, start: int) -> Iterator[tuple[int, Any]]:
        """Number (from 1) and value of each row, `start` rows passed over; parts before it are not read."""
        passed, number = 0, 0
        while self.sizes is not None and number < len(self.sizes) and passed + self.sizes[number] <= start:
            passed += self.sizes[number]
            number += 1
        last = 1 if self.sizes is None else len(self.sizes)
        for index in range(number, last):
            for batch in self.part(index):
                batch.validate(full=True)  # a damaged batch that is read unchecked ends the process
                first = max(0, start - passed)
                if first < batch.num_rows:
                    values = cast("list[Any]", batch.slice(first).to_pylist())
                    yield from enumerate(values, start=passed + first + 1)
                passed += batch.num_rows


@contextmanager
def open_table(stream: IO[bytes], kind: str, source: str) -> Generator[Table]:
    """The table in `stream`, whose `kind` is parquet or arrow. Raises DataError, also while it is read, for a file
    that is no such table or is cut short."""
    import pyarrow

    arrow: Any = pyarrow
    try:
        yield _parquet(stream) if kind == "parquet" else _arrow(stream)
    except MemoryError:  # a damaged length asks for more than any machine has
        raise DataError(f"{source} is damaged, or one part of it is larger than the memory. Fetch it again.") from None
    except (arrow.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"{source} is no whole {kind} file: {words}. Write or fetch it again.") from None


def _parquet(stream: IO[bytes]) -> Table:
    from pyarrow import parquet

    parquets: Any = parquet
    # Its index is at the end, and a gzip stream only goes forward at a bearable price.
    file = parquets.ParquetFile(stream if _is_plain(stream) else BytesIO(stream.read()))
    sizes = tuple(file.metadata.row_group(n).num_rows for n in range(file.num_row_groups))
    return Table(
        sizes, lambda number: file.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=[number]), file.schema_arrow
    )


def _arrow(stream: IO[bytes]) -> Table:
    import pyarrow

    arrow: Any = pyarrow
    is_file = stream.read(6) == b"ARROW1"
    stream.seek(0)
    if not is_file:  # the form without an index, which the datasets library writes
        batches = arrow.ipc.open_stream(stream)
        return Table(None, lambda _: iter(batches), batches.schema)
    file = arrow.ipc.open_file(stream if _is_plain(stream) else BytesIO(stream.read()))
    sizes = tuple(file.get_batch(n).num_rows for n in range(file.num_record_batches))
    return Table(sizes, lambda number: iter([file.get_batch(number)]), file.schema)


def _is_plain(stream: IO[bytes]) -> bool:
    return not type(stream).__module__.startswith("gzip")
