"""The one form that every dataset is read into: a conversation or a text, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


class DataError(ValueError):
    """A dataset cannot be used. The text names the file, the row where there is one, and the way out."""


@dataclass(frozen=True)
class Message:
    """One turn. `trained` False leaves an answer out of the loss; None lets the settings of the run decide."""

    role: Role
    content: str
    trained: bool | None = None


@dataclass(frozen=True)
class Example:
    """One row: either `messages` (a conversation) or `text` (plain text), never both.

    `source` is the file as a message should name it, `row` counts from 1 (the line number in jsonl and txt files).
    """

    source: str
    row: int
    messages: tuple[Message, ...] = ()
    text: str | None = None

    @property
    def where(self) -> str:
        """The place to look at, as every message says it: `row 17 of data/x.json`."""
        return f"row {self.row} of {self.source}"


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read, and why."""

    source: str
    row: int
    reason: str

    def __str__(self) -> str:
        return f"row {self.row} of {self.source}: {self.reason}"
