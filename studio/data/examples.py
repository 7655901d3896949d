"""The one form that every dataset is read into: a conversation or a text, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]

# What is wrong with a row, as one word for programs; the sentence that goes with it is for people.
Problem = Literal["file", "not_json", "encoding", "type", "missing", "empty", "roles", "placeholder"]

# What a row can teach: plain text, a conversation, one with tools, a conversation that waits for its answer, two
# answers of which one is better, an answer with a judgement, and anything with pictures, sound or film.
Kind = Literal["text", "chat", "tools", "prompt", "preference", "judged", "media"]


class DataError(ValueError):
    """A dataset cannot be used. The text names the file, the row where there is one, and the way out."""

    def __init__(self, text: str, problem: Problem = "file") -> None:
        super().__init__(text)
        self.problem: Problem = problem


@dataclass(frozen=True)
class ToolCall:
    """A call that the model makes. `arguments` is JSON text; `id` joins the call to its result, "" for none."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True)
class Message:
    """One turn. `trained` False leaves an answer out of the loss; None lets the settings of the run decide.

    An answer may hold `calls` beside or instead of words; a turn of role tool holds the result of `call_id`.
    """

    role: Role
    content: str
    trained: bool | None = None
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True)
class Example:
    """One row: either `messages` (a conversation) or `text` (plain text), never both.

    `source` is the file as a message should name it, `row` counts from 1 (the line number in jsonl and txt files) and
    `line` is where the row begins, 0 where files have no lines. `tools` is the JSON text of the tools offered. A
    preference has `chosen` and `rejected`, both answers to `messages`; `label` judges the last answer of `messages`.
    """

    source: str
    row: int
    messages: tuple[Message, ...] = ()
    text: str | None = None
    tools: str = ""
    chosen: Message | None = None
    rejected: Message | None = None
    label: bool | None = None
    media: tuple[str, ...] = ()
    line: int = field(default=0, compare=False)

    @property
    def where(self) -> str:
        """The place to look at, as every message says it: `row 17 of data/x.json`."""
        return place(self.source, self.row, self.line)

    @property
    def kind(self) -> Kind:
        """What the row can teach; the first that applies."""
        if self.media:
            return "media"
        if self.text is not None:
            return "text"
        if self.chosen is not None:
            return "preference"
        if self.label is not None:
            return "judged"
        if self.tools or any(message.role == "tool" or message.calls for message in self.messages):
            return "tools"
        return "chat" if any(message.role == "assistant" for message in self.messages) else "prompt"


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read, and why."""

    source: str
    row: int
    reason: str
    line: int = field(default=0, compare=False)
    problem: Problem = "file"

    def __str__(self) -> str:
        return f"{place(self.source, self.row, self.line)}: {self.reason}"


def place(source: str, row: int, line: int = 0) -> str:
    """`row 17 of data/x.json`, with the line where that is another number."""
    return f"row {row} of {source}" + (f" (line {line})" if line not in (0, row) else "")
