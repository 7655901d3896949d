"""From dataset names to tokenized datasets of torch's world, with an account of what became of every row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from studio.config.workspace import Workspace
from studio.data.examples import BadRow, DataError, Example
from studio.data.reading import Reading, read_datasets
from studio.data.splits import split
from studio.tasks.failures import TaskError
from studio.tasks.tokenize import Settings, TokenizedRow, cut_into_blocks, tokenize_example

if TYPE_CHECKING:
    from datasets import Dataset

ROWS_PER_TASK = 64  # rows that a process tokenizes between two reports

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Account:
    """What became of the rows of one set; `tokens` and `trained_tokens` count the rows that are kept."""

    rows: int
    kept: int
    dropped: int
    cut: int
    tokens: int
    trained_tokens: int
    longest: int

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


@dataclass(frozen=True)
class Prepared:
    """Tokenized rows with columns input_ids and labels, and their accounts; without evaluation `validation` is None."""

    train: Dataset
    validation: Dataset | None
    train_account: Account
    validation_account: Account | None


def read_rows(workspace: Workspace, arguments: dict[str, Any]) -> tuple[list[Example], list[Example]]:
    """Examples to train on and to evaluate on, by the plan's data arguments. Raises DataError."""
    read = partial(read_datasets, workspace, max_samples=arguments["max_samples"], seed=arguments["seed"])
    rows = read(arguments["datasets"]).examples
    if arguments["validation_datasets"]:
        return rows, read(arguments["validation_datasets"]).examples
    return split(rows, arguments["validation_size"], arguments["seed"])


def prepare(
    train: Sequence[Example],
    validation: Sequence[Example],
    tokenizer: Any,
    template: str,
    settings: Settings,
    processes: int,
    progress: Progress,
) -> Prepared:
    """Tokenize both sets. Raises DataError for rows that cannot be used, TaskError when nothing is left to train on."""
    total = len(train) + len(validation)
    rows = tokenize_all([*train, *validation], tokenizer, template, settings, processes, lambda n: progress(n, total))
    train_set, train_account = _collect(rows[: len(train)], settings)
    if not train_account.trained_tokens:
        raise TaskError(
            "data",
            f"There is nothing to train on: all tokens of all {len(train):,} rows are masked or cut off.",
            f"Raise data.cutoff_len (now {settings.cutoff_len}), or look at the rows: the answers begin behind it.",
        )
    if not validation:
        return Prepared(train_set, None, train_account, None)
    validation_set, validation_account = _collect(rows[len(train) :], settings)
    if not validation_account.trained_tokens:
        raise TaskError("data", "No row is left to evaluate on: all their tokens are masked or cut off.", "")
    return Prepared(train_set, validation_set, train_account, validation_account)


def tokenize_all(
    examples: Sequence[Example],
    tokenizer: Any,
    template: str,
    settings: Settings,
    processes: int,
    progress: Callable[[int], None],
) -> list[TokenizedRow]:
    """Every example tokenized, in order. Raises DataError that names the first rows that cannot be used."""
    chunks = [examples[start : start + ROWS_PER_TASK] for start in range(0, len(examples), ROWS_PER_TASK)]
    rows: list[TokenizedRow] = []
    refused = Reading()
    work = partial(_tokenize_chunk, tokenizer=tokenizer, template=template, settings=settings)
    for done, bad in _map(work, chunks, processes):
        rows += done
        for row in bad:
            refused.refuse(row)
        progress(len(rows) + refused.broken)
    if refused.broken:
        raise DataError(f"{refused.broken} rows cannot be trained on.\n{refused.explain()}\nCorrect or remove them.")
    return rows


def _map(
    work: Callable[[Sequence[Example]], tuple[list[TokenizedRow], list[BadRow]]],
    chunks: Sequence[Sequence[Example]],
    processes: int,
) -> Iterator[tuple[list[TokenizedRow], list[BadRow]]]:
    if processes == 1 or len(chunks) == 1:
        yield from map(work, chunks)
        return
    # A forked child of a process that holds torch's threads may hang, so the children start fresh.
    with ProcessPoolExecutor(
        min(processes, len(chunks)), mp_context=get_context("spawn"), initializer=_set_work, initargs=(work,)
    ) as pool:
        yield from pool.map(_work_in_child, chunks)


def _tokenize_chunk(
    examples: Sequence[Example], tokenizer: Any, template: str, settings: Settings
) -> tuple[list[TokenizedRow], list[BadRow]]:
    rows: list[TokenizedRow] = []
    bad: list[BadRow] = []
    for example in examples:
        try:
            rows.append(tokenize_example(example, tokenizer, template, settings))
        except DataError as error:
            bad.append(BadRow(example.source, example.row, str(error)))
    return rows, bad


_child_work: list[Callable[[Sequence[Example]], tuple[list[TokenizedRow], list[BadRow]]]] = []


def _set_work(work: Callable[[Sequence[Example]], tuple[list[TokenizedRow], list[BadRow]]]) -> None:
    """Give a child its tokenizer once, not with every task."""
    _child_work[:] = [work]


def _work_in_child(examples: Sequence[Example]) -> tuple[list[TokenizedRow], list[BadRow]]:
    return _child_work[0](examples)


def _collect(rows: Sequence[TokenizedRow], settings: Settings) -> tuple[Dataset, Account]:
    from datasets import Dataset

    kept = [row for row in rows if row.trained]
    blocks = cut_into_blocks(kept, settings.cutoff_len) if settings.blocks else kept
    account = Account(
        rows=len(rows),
        kept=len(kept),
        dropped=len(rows) - len(kept),
        cut=sum(row.cut for row in rows),
        tokens=sum(len(row.input_ids) for row in blocks),
        trained_tokens=sum(row.trained for row in blocks),
        longest=max((len(row.input_ids) for row in blocks), default=0),
    )
    columns = {"input_ids": [row.input_ids for row in blocks], "labels": [row.labels for row in blocks]}
    return Dataset.from_dict(columns), account
