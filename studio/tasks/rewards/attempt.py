"""One answer that a model wrote, with all that a reward may look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studio.data.examples import Message

END_OF_THOUGHT = "</think>"


@dataclass(frozen=True)
class Attempt:
    """`text` is the answer without special tokens, `tokens` its length in tokens, `messages` the turns before it,
    `prompt` the question in words and `reference` the row's own answer, None where it has none."""

    text: str
    tokens: int
    prompt: str
    messages: tuple[Message, ...]
    reference: str | None
    where: str

    @property
    def spoken(self) -> str:
        """The answer without a thought before it."""
        return spoken(self.text)

    def as_row(self) -> dict[str, Any]:
        """What a user's function gets to see of the row."""
        return {
            "prompt": self.prompt,
            "messages": [{"role": message.role, "content": message.content} for message in self.messages],
            "answer": self.reference,
            "tokens": self.tokens,
            "where": self.where,
        }


def spoken(text: str) -> str:
    """A text without the thought that it begins with."""
    return text.rpartition(END_OF_THOUGHT)[2].strip()
