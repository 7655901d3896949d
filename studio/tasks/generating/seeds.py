"""Seed tasks from a dataset or a file of the workspace, as the text of an example in a prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from studio.config.generate import Seeds
from studio.config.workspace import OutsideWorkspace, Workspace
from studio.data.detection import detect
from studio.data.examples import BadRow, DataError, Example
from studio.data.reading import source_of, stream_entry
from studio.data.registry import DatasetEntry, find_entry, load_registry, read_entry
from studio.tasks.failures import TaskError

MOST_SEEDS = 20_000
LONGEST = 2_000  # characters of one turn that an example shows
_NAMES = {"system": "System", "user": "Person", "assistant": "Assistant", "tool": "Tool"}


@dataclass(frozen=True)
class SeedTask:
    """One row: how a prompt shows it, and the question by which new rows are compared with it."""

    text: str
    question: str


def read_seeds(workspace: Workspace, source: Seeds, notice: Callable[[str], None]) -> list[SeedTask]:
    """The rows of the dataset or file, the first `MOST_SEEDS`.

    Raises TaskError when there is none, DataError for a dataset or file that cannot be read.
    """
    found, broken, name = list[SeedTask](), 0, source.dataset or source.file or ""
    rows = _of_dataset(workspace, source.dataset) if source.dataset else _of_file(workspace, source.file or "")
    for row in islice(rows, MOST_SEEDS):
        task = None if isinstance(row, BadRow) else _task(row)
        if task is None:
            broken += 1
        else:
            found.append(task)
    if broken:
        notice(f"{broken} {'row' if broken == 1 else 'rows'} of {name} cannot be shown as examples and were left out.")
    if not found:
        raise TaskError("seeds", f"{name} has no row that can be an example.", "Choose other seed tasks.")
    return found


def _of_dataset(workspace: Workspace, name: str) -> Iterator[Example | BadRow]:
    return stream_entry(workspace, find_entry(load_registry(workspace), name))


def _of_file(workspace: Workspace, name: str) -> Iterator[Example | BadRow]:
    try:
        path = workspace.resolve(name)
    except OutsideWorkspace as error:
        raise TaskError("seeds", f"The seed tasks may not be read: {error}") from None
    if not path.exists():
        raise TaskError("seeds", f"There is no file {name}.", "Correct source.file, or choose a dataset.")
    entry = read_entry(path.stem, detect(path, source_of(workspace, path)).entry(str(path)))
    if not isinstance(entry, DatasetEntry):
        raise DataError(f"{name} cannot be read: {entry.reason}")
    return stream_entry(workspace, entry)


def _task(row: Example) -> SeedTask | None:
    if row.media:
        return None
    if row.text is not None:
        return SeedTask(_short(row.text), row.text) if row.text.strip() else None
    lines = [f"{_NAMES[message.role]}: {_short(message.content)}" for message in row.messages if message.content]
    lines += [f"Better answer: {_short(row.chosen.content)}"] if row.chosen else []
    lines += [f"Worse answer: {_short(row.rejected.content)}"] if row.rejected else []
    question = "\n".join(message.content for message in row.messages if message.role == "user")
    return SeedTask("\n".join(lines), question) if question.strip() else None


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
