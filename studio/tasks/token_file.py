"""Tokenized rows in an arrow file, written as they come and mapped into memory, with an account of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from studio.tasks.tokenize import IGNORED, Settings, TokenizedRow, cut_into_blocks

if TYPE_CHECKING:
    from datasets import Dataset

ROWS_PER_BATCH = 512

SCHEMA = pa.schema([("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32()))])


@dataclass
class Account:
    """What became of the rows of one set; `tokens` and `trained_tokens` count the rows that are kept."""

    rows: int = 0
    kept: int = 0
    cut: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    longest: int = 0

    @property
    def dropped(self) -> int:
        """Rows with nothing to train on."""
        return self.rows - self.kept

    def explain(self, name: str, cutoff: int) -> list[str]:
        """The account in sentences; the first is always there, the others only when something was lost."""
        lines = [
            f"{name}: {self.kept:,} rows of {self.rows:,}, {self.tokens:,} tokens, {self.trained_tokens:,} of them "
            f"trained on, longest row {self.longest:,}."
        ]
        if self.cut:
            lines.append(f"{name}: {self.cut:,} rows are longer than data.cutoff_len={cutoff} and were cut.")
        if self.dropped:
            lines.append(f"{name}: {self.dropped:,} rows have nothing to train on within the cutoff and are left out.")
        return lines


def write_rows(rows: Iterable[TokenizedRow], path: Path, settings: Settings) -> Account:
    """Write the rows that have something to train on; no more than a batch of them is held in memory."""
    account = Account()
    kept = _kept(rows, account)
    stored = cut_into_blocks(kept, settings.cutoff_len) if settings.blocks else kept
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as writer:
        while batch := list(islice(stored, ROWS_PER_BATCH)):
            writer.write_batch(_stored(batch, account))
    return account


def open_rows(path: Path) -> Dataset:
    """The file as a dataset with columns input_ids and labels; its rows are read when they are asked for."""
    from datasets import Dataset, disable_caching

    disable_caching()  # else what the trainer makes of it, such as packed rows, would be left beside the file
    return Dataset.from_file(str(path))


def _stored(rows: Sequence[TokenizedRow], account: Account) -> pa.RecordBatch:
    lengths = np.fromiter((len(row.input_ids) for row in rows), np.int32, len(rows))
    borders = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    ids = np.fromiter(chain.from_iterable(row.input_ids for row in rows), np.int32, borders[-1])
    labels = np.fromiter(chain.from_iterable(row.labels for row in rows), np.int32, borders[-1])
    account.tokens += len(ids)
    # The first token of a row gives no loss: nothing predicts it.
    trained, first = np.count_nonzero(labels != IGNORED), np.count_nonzero(labels[borders[:-1]] != IGNORED)
    account.trained_tokens += int(trained - first)
    account.longest = max(account.longest, int(lengths.max()))
    columns = [pa.ListArray.from_arrays(pa.array(borders), pa.array(values)) for values in (ids, labels)]
    return pa.record_batch(columns, schema=SCHEMA)


def _kept(rows: Iterable[TokenizedRow], account: Account) -> Iterator[TokenizedRow]:
    for row in rows:
        account.rows += 1
        account.cut += row.cut
        if row.trained:
            account.kept += 1
            yield row
