"""From dataset names to tokenized datasets of torch's world, with an account of what became of every row."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.config.workspace import Workspace
from studio.data.examples import BadRow, DataError, Example
from studio.data.reading import Reading, read_datasets
from studio.data.splits import split
from studio.tasks.failures import TaskError
from studio.tasks.preference import as_judged, judged_stream, tokenize_judged
from studio.tasks.status import Reporter
from studio.tasks.token_cache import TokenCache
from studio.tasks.token_file import Account, Row, open_rows, write_rows
from studio.tasks.token_key import token_key
from studio.tasks.tokenize import Settings, in_order, tokenize_examples, tokenize_stream

if TYPE_CHECKING:
    from datasets import Dataset

# Rows that are tokenized in one go, and how many characters they may have together: enough to keep the tokenizer's
# threads busy, and few enough to hold in memory all that the tokenizer says about them.
ROWS_PER_CHUNK, CHARACTERS_PER_CHUNK = 512, 500_000

ACCOUNTS = "accounts.json"

Outcome = Row | DataError


@dataclass(frozen=True)
class Prepared:
    """Tokenized rows with the columns of their form, and their accounts; without evaluation `validation` is None."""

    train: Dataset
    validation: Dataset | None
    train_account: Account
    validation_account: Account | None


def prepare(
    workspace: Workspace,
    arguments: Mapping[str, Any],
    tokenizer: Any,
    template: str,
    settings: Settings,
    reporter: Reporter,
) -> Prepared:
    """Both sets of the plan's data arguments: from the cache, or read, tokenized and kept there.

    Raises DataError for data that cannot be used, TaskError when nothing is left to train on.
    """
    reporter.phase("tokenizing")
    cache = TokenCache(workspace.cache / "tokens", reporter.notice)
    name_now = partial(token_key, workspace, arguments, tokenizer, template, settings)
    name = name_now()
    entry = cache.find(name)
    if entry is not None:
        reporter.phase("tokenizing", "tokens from the cache")
        return _load(entry, settings)

    def make(folder: Path) -> None:
        train, validation = read_rows(workspace, arguments)
        work = partial(tokenized, tokenizer=tokenizer, template=template, settings=settings)
        with closing(work([*train, *validation], arguments["processes"], reporter.progress)) as outcomes:
            _write(folder, {"train": train, "validation": validation}, outcomes, settings)
        if name_now() != name:
            raise DataError("The data was changed while it was read. Start the run again.")

    return _load(cache.add(name, make), settings)


def read_rows(workspace: Workspace, arguments: Mapping[str, Any]) -> tuple[list[Example], list[Example]]:
    """Examples to train on and to evaluate on, by the plan's data arguments. Raises DataError."""
    seed = arguments["seed"]
    read = partial(read_datasets, workspace, kinds=arguments["kinds"], max_samples=arguments["max_samples"], seed=seed)
    train = read(arguments["datasets"]).examples
    if arguments["validation_datasets"]:
        validation = read(arguments["validation_datasets"]).examples
    else:
        train, validation = split(train, arguments["validation_size"], seed)
    # Behind the split, so that the two answers of a pair never come into different sets.
    return (as_judged(train), as_judged(validation)) if arguments["apart"] else (train, validation)


def tokenized(
    examples: Sequence[Example],
    processes: int,
    progress: Callable[[int, int], None],
    *,
    tokenizer: Any,
    template: str,
    settings: Settings,
) -> Iterator[Outcome]:
    """Every example tokenized, or why it cannot be, in order.

    One process leaves the work to the tokenizer's own threads; more of them share the writing out too.
    """
    chunks, judged = _chunks(examples), settings.form != "labels"
    if processes == 1 or len(examples) <= ROWS_PER_CHUNK:
        stream: Callable[..., Iterator[list[Any]]] = judged_stream if judged else tokenize_stream
        made = _with_threads(stream(chunks, tokenizer, template, settings))
    else:
        many: Callable[..., list[Any]] = tokenize_judged if judged else tokenize_examples
        work = partial(many, tokenizer=tokenizer, template=template, settings=settings)
        made = _with_processes(work, chunks, processes)
    done = 0
    with closing(made):
        for outcomes in made:
            done += len(outcomes)
            progress(done, len(examples))
            yield from outcomes


def _chunks(examples: Iterable[Example]) -> Iterator[list[Example]]:
    chunk: list[Example] = []
    characters = 0
    for example in examples:
        chunk.append(example)
        sides = [side for side in (example.chosen, example.rejected) if side is not None]
        characters += len(example.text or "") + sum(len(message.content) for message in (*example.messages, *sides))
        if len(chunk) == ROWS_PER_CHUNK or characters >= CHARACTERS_PER_CHUNK:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _with_threads(made: Iterator[list[Outcome]]) -> Iterator[list[Outcome]]:
    """As many threads as torch takes. Switched off again behind it: in a forked child, such as a data loader's, the
    tokenizer would wait for threads that are not there."""
    import torch

    threads = torch.get_num_threads()
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
    before = os.environ.get("TOKENIZERS_PARALLELISM", "false")
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    try:
        yield from made
    finally:
        os.environ["TOKENIZERS_PARALLELISM"] = before


def _with_processes(
    work: Callable[[Sequence[Example]], list[Outcome]], chunks: Iterable[Sequence[Example]], processes: int
) -> Iterator[list[Outcome]]:
    # A forked child of a process that holds torch's threads may hang, so the children start fresh.
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_set_work, initargs=(work,)
    ) as pool:
        yield from in_order(pool, _work_in_child, chunks, ahead=2 * processes)


_child_work: list[Callable[[Sequence[Example]], list[Outcome]]] = []


def _set_work(work: Callable[[Sequence[Example]], list[Outcome]]) -> None:
    """Give a child its tokenizer once, not with every task."""
    _child_work[:] = [work]


def _work_in_child(examples: Sequence[Example]) -> list[Outcome]:
    return _child_work[0](examples)


def _write(
    folder: Path, sets: Mapping[str, Sequence[Example]], outcomes: Iterator[Outcome], settings: Settings
) -> None:
    """Each set into a file, the accounts into another. Raises DataError that names rows that cannot be used."""
    refused = Reading()
    accounts = {
        name: asdict(write_rows(_usable(examples, outcomes, refused), _file(folder, name), settings))
        for name, examples in sets.items()
        if examples
    }
    if refused.broken:
        raise DataError(f"{refused.broken} rows cannot be trained on.\n{refused.explain()}\nCorrect or remove them.")
    (folder / ACCOUNTS).write_text(json.dumps(accounts), encoding="utf-8")


def _usable(examples: Iterable[Example], outcomes: Iterator[Outcome], refused: Reading) -> Iterator[Row]:
    for example, outcome in zip(examples, outcomes, strict=False):  # behind these outcomes come those of the next set
        if isinstance(outcome, DataError):
            refused.refuse(BadRow(example.source, example.row, str(outcome), example.line, outcome.problem))
        else:
            yield outcome


def _load(folder: Path, settings: Settings) -> Prepared:
    accounts = {name: Account(**value) for name, value in json.loads((folder / ACCOUNTS).read_text("utf-8")).items()}
    train, validation = accounts["train"], accounts.get("validation")
    if not train.trained_tokens:
        raise TaskError(
            "data",
            f"There is nothing to train on: all tokens of all {train.rows:,} rows are masked or cut off.",
            f"Raise data.cutoff_len (now {settings.cutoff_len}), or look at the rows: the answers begin behind it.",
        )
    if validation and not validation.trained_tokens:
        raise TaskError("data", "No row is left to evaluate on: all their tokens are masked or cut off.", "")
    return Prepared(
        open_rows(_file(folder, "train")),
        open_rows(_file(folder, "validation")) if validation else None,
        train,
        validation,
    )


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.arrow"
