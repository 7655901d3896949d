"""Tokenized rows in an arrow file, written as they come and mapped into memory, with an account of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from studio.tasks.preference import JudgedRow
from studio.tasks.tokenize import IGNORED, Form, Settings, TokenizedRow, cut_into_blocks

if TYPE_CHECKING:
    from datasets import Dataset

ROWS_PER_BATCH = 512

_IDS = pa.list_(pa.int32())

SCHEMAS: Mapping[Form, Any] = {
    "labels": pa.schema([("input_ids", _IDS), ("labels", _IDS)]),
    "pairs": pa.schema([("prompt_ids", _IDS), ("chosen_ids", _IDS), ("rejected_ids", _IDS)]),
    "judged": pa.schema([("prompt_ids", _IDS), ("completion_ids", _IDS), ("label", pa.bool_())]),
}

Row = TokenizedRow | JudgedRow


@dataclass
class Account:
    """What became of the rows of one set; `tokens` and `trained_tokens` count the rows that are kept.

    A pair is read twice, once with each answer, and its tokens count so. `answers_cut` and `alike` are rows of judged
    answers that lost the end of an answer, and pairs of the same tokens.
    """

    rows: int = 0
    kept: int = 0
    cut: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    longest: int = 0
    answers_cut: int = 0
    alike: int = 0

    @property
    def dropped(self) -> int:
        """Rows with nothing to train on."""
        return self.rows - self.kept - self.alike

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
        if self.answers_cut:
            lines.append(f"{name}: {self.answers_cut:,} of the rows that were cut lost the end of an answer.")
        if self.alike:
            lines.append(f"{name}: {self.alike:,} pairs hold the same answer twice and are left out.")
        return lines


def write_rows(rows: Iterable[Row], path: Path, settings: Settings) -> Account:
    """Write the rows that have something to train on; no more than a batch of them is held in memory.

    The columns are those of `SCHEMAS`; all rows must be of the settings' form.
    """
    account, schema = Account(), SCHEMAS[settings.form]
    stored: Iterator[Any] = _kept(rows, account)
    if settings.blocks:
        stored = cut_into_blocks(stored, settings.cutoff_len)
    batch_of = _labelled if settings.form == "labels" else _judged
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        while batch := list(islice(stored, ROWS_PER_BATCH)):
            writer.write_batch(pa.record_batch(batch_of(batch, account), schema=schema))
    return account


def open_rows(path: Path) -> Dataset:
    """The file as a dataset with the columns of its form; its rows are read when they are asked for."""
    from datasets import Dataset, disable_caching

    disable_caching()  # else what the trainer makes of it, such as packed rows, would be left beside the file
    return Dataset.from_file(str(path))


def _labelled(rows: Sequence[TokenizedRow], account: Account) -> list[Any]:
    borders, ids = _flat([row.input_ids for row in rows])
    _, labels = _flat([row.labels for row in rows])
    account.tokens += len(ids)
    # The first token of a row gives no loss: nothing predicts it.
    trained, first = np.count_nonzero(labels != IGNORED), np.count_nonzero(labels[borders[:-1]] != IGNORED)
    account.trained_tokens += int(trained - first)
    account.longest = max(account.longest, int(np.diff(borders).max()))
    return [_lists(borders, values) for values in (ids, labels)]


def _judged(rows: Sequence[JudgedRow], account: Account) -> list[Any]:
    for row in rows:
        lengths = [len(row.prompt_ids) + len(answer) for answer in row.answers]
        account.tokens += sum(lengths)
        account.trained_tokens += row.trained
        account.longest = max(account.longest, *lengths)
    columns = [_lists(*_flat([row.prompt_ids for row in rows]))]
    columns += [_lists(*_flat(side)) for side in zip(*(row.answers for row in rows), strict=True)]
    single = len(rows[0].answers) == 1
    return [*columns, pa.array([row.good for row in rows])] if single else columns


def _flat(rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """All rows one after another, and the places where each begins and the last one ends."""
    lengths = np.fromiter((len(row) for row in rows), np.int32, len(rows))
    borders = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return borders, np.fromiter(chain.from_iterable(rows), np.int32, borders[-1])


def _lists(borders: Any, values: Any) -> Any:
    return pa.ListArray.from_arrays(pa.array(borders), pa.array(values))


def _kept(rows: Iterable[Row], account: Account) -> Iterator[Row]:
    for row in rows:
        account.rows += 1
        account.cut += row.cut
        if isinstance(row, JudgedRow):
            account.answers_cut += row.answers_cut
            account.alike += row.alike
        if row.trained:
            account.kept += 1
            yield row
