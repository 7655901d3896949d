"""From the name of a dataset to its Examples: finds the file, reads every row, collects every broken one."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from studio.config.stage import STAGES, stages_learning
from studio.config.workspace import Workspace
from studio.data.examples import BadRow, DataError, Example, Kind
from studio.data.files import RawRow, rows_of
from studio.data.formats import read_row
from studio.data.registry import DatasetEntry, find_entry, load_registry, locate
from studio.data.values import refuse_unfilled

NAMED_ROWS = 10  # broken rows that a message names; the rest is counted

# What a row of each kind is, to say why a stage cannot use it.
KIND_WORDS: Mapping[Kind, str] = {
    "text": "it is plain text",
    "chat": "it is a conversation with an answer of its own",
    "tools": "it is a conversation with tools",
    "prompt": "it has no answer, only a prompt",
    "preference": "it holds preferences (a chosen and a rejected answer)",
    "judged": "it judges an answer (kto_tag)",
    "media": "it has pictures, sound or film",
}

# Texts and whole conversations, as whoever only wants to read some takes them.
PLAIN_KINDS: frozenset[str] = frozenset({"text", "chat", "tools"})
# What some stage learns from.
TRAINABLE: frozenset[str] = frozenset[str]().union(*(stage.kinds for stage in STAGES.values()))


@dataclass
class Reading:
    """What was read: the examples, how many rows were broken, and the first of those."""

    examples: list[Example] = field(default_factory=list[Example])
    broken: int = 0
    named: list[BadRow] = field(default_factory=list[BadRow])

    def refuse(self, bad: BadRow) -> None:
        """Count a broken row, and keep it if it is among the first."""
        self.broken += 1
        if len(self.named) < NAMED_ROWS:
            self.named.append(bad)

    def explain(self) -> str:
        """All broken rows in words, one a line."""
        lines = [str(bad) for bad in self.named]
        if self.broken > len(lines):
            lines.append(f"and {self.broken - len(lines)} more broken rows")
        return "\n".join(lines)


def read_datasets(
    workspace: Workspace,
    names: list[str],
    *,
    kinds: Collection[str] = PLAIN_KINDS,
    max_samples: int | None = None,
    seed: int = 42,
    strict: bool = True,
) -> Reading:
    """The examples to train on of the named datasets one after another, at most `max_samples` (the first) of each.

    With `strict` a broken row raises DataError that names the first ten and counts all; without it they are left out
    and counted. A row of another kind than `kinds`, those that a stage learns from, counts as broken. Raises DataError
    for an unknown dataset, a missing file and a file that cannot be read.
    """
    registry, reading = load_registry(workspace), Reading()
    for name in names:
        entry = find_entry(registry, name)
        part = _trainable(read_entry_file(workspace, entry), kinds)
        for bad in part.named:
            reading.refuse(bad)
        reading.broken += part.broken - len(part.named)
        chosen = _sampled(part.examples, entry.num_samples, seed)
        reading.examples += chosen[:max_samples]
    if strict and reading.broken:
        raise DataError(f"{_rows(reading.broken)} cannot be used.\n{reading.explain()}\nCorrect or remove them.")
    return reading


def read_entry_file(workspace: Workspace, entry: DatasetEntry) -> Reading:
    """Every row of one dataset, of whatever kind. Raises DataError when the file as a whole cannot be read or is
    empty."""
    reading = Reading()
    for row in stream_entry(workspace, entry):
        if isinstance(row, BadRow):
            reading.refuse(row)
        else:
            reading.examples.append(row)
    if not reading.examples and not reading.broken:
        raise DataError(f"{entry.file_name} holds no rows. Fill it, or choose another dataset.")
    return reading


def stream_entry(workspace: Workspace, entry: DatasetEntry) -> Iterator[Example | BadRow]:
    """Every row of one dataset, one at a time in their order. Raises DataError like `rows_of`, in the midst of it."""
    for raw in stream_raw(workspace, entry):
        yield raw if isinstance(raw, BadRow) else example_of(raw, entry)


def stream_raw(workspace: Workspace, entry: DatasetEntry) -> Iterator[RawRow | BadRow]:
    """Every raw row of one dataset, one at a time in their order. Raises DataError like `rows_of`."""
    path = locate(workspace, entry)
    return rows_of(path, source_of(workspace, path))


def source_of(workspace: Workspace, path: Path) -> str:
    """The file as messages name it: from the workspace on, where it lies there."""
    return path.relative_to(workspace.root).as_posix() if path.is_relative_to(workspace.root) else str(path)


def example_of(raw: RawRow, entry: DatasetEntry) -> Example | BadRow:
    """The Example in a raw row, or why there is none."""
    try:
        return read_row(raw, entry)
    except DataError as error:
        return BadRow(raw.source, raw.row, str(error), raw.line, error.problem)


def refuse_untrainable(example: Example, kinds: Collection[str] = TRAINABLE) -> None:
    """Raises DataError for a row that is whole, but that a stage which learns from `kinds` must not learn."""
    if example.kind not in kinds:
        stages = " or ".join(stages_learning([example.kind]))
        way = f"this stage does not learn from. Choose stage.type={stages}." if stages else "no stage learns from."
        raise DataError(f"{KIND_WORDS[example.kind]}, which {way}", "type")
    sides = [side for side in (example.chosen, example.rejected) if side is not None]
    for text in (example.text or "", *(message.content for message in (*example.messages, *sides))):
        refuse_unfilled(text)


def _trainable(part: Reading, kinds: Collection[str]) -> Reading:
    kept = Reading(broken=part.broken, named=part.named)
    for example in part.examples:
        try:
            refuse_untrainable(example, kinds)
        except DataError as error:
            kept.refuse(BadRow(example.source, example.row, str(error), example.line, error.problem))
        else:
            kept.examples.append(example)
    return kept


def _sampled(examples: list[Example], count: int | None, seed: int) -> list[Example]:
    """`count` examples drawn by `seed`; more than there are are drawn by repeating them, as LLaMA-Factory does."""
    if count is None or not examples:
        return examples
    draw = random.Random(seed)
    whole, rest = divmod(count, len(examples))
    return examples * whole + draw.sample(examples, rest)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
