"""Where the answers lie in the text that a chat template makes of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2.exceptions import TemplateError

from studio.data.examples import DataError, Message

# Two characters that no text holds (Unicode keeps them for private use): a mark to find a place again.
MARK = "\ue0f1\ue0f2"


@dataclass(frozen=True)
class Span:
    """Characters [start, end) of one answer with its end-of-turn token. `last`: it is the conversation's last turn."""

    start: int
    end: int
    trained: bool
    last: bool


class Conversation:
    """A conversation together with the template that turns it into text."""

    def __init__(self, messages: Sequence[Message], tokenizer: Any, template: str) -> None:
        self.messages = messages
        self.tokenizer = tokenizer
        self.template = template

    @cached_property
    def text(self) -> str:
        """The whole conversation as the model sees it."""
        return self.render(self.messages)

    @cached_property
    def specials(self) -> tuple[str, ...]:
        """The tokenizer's special tokens as text."""
        added = self.tokenizer.added_tokens_decoder.values()
        return (*self.tokenizer.all_special_tokens, *(token.content for token in added if token.special))

    def render(self, messages: Sequence[Message], prompt: bool = False) -> str:
        """The text of some messages, with `prompt` up to where an answer begins. Raises DataError when refused."""
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return self.tokenizer.apply_chat_template(
                turns, chat_template=self.template, tokenize=False, add_generation_prompt=prompt
            )
        except (TemplateError, IndexError, KeyError, TypeError) as error:
            raise DataError(f"the chat template refuses it: {' '.join(str(error).split())}") from error

    def is_closed(self, span: Span) -> bool:
        """Whether the span ends with a special token."""
        return self.text[span.start : span.end].endswith(self.specials)

    def closing_of(self, index: int) -> str:
        """The special token that the template puts behind an answer that comes last, "" for none."""
        text = self.render(self.messages[: index + 1]).rstrip()
        return max((token for token in self.specials if token and text.endswith(token)), key=len, default="")


def answer_spans(conversation: Conversation) -> list[Span]:
    """One span for each answer, in order. Raises DataError when the template hides where an answer lies.

    An answer is what a rendering that ends behind it has more than one that ends where it is asked for. Templates that
    rewrite earlier turns have no such difference there: then their generation markers say it, else the answer is found
    by a mark put at its ends.
    """
    spans: list[Span] = []
    for index, message in enumerate(conversation.messages):
        if message.role != "assistant":
            continue
        found = _by_prefix(conversation, index) or _by_generation(conversation, index) or _by_mark(conversation, index)
        if found is None:
            raise DataError(
                f"the chat template changes turn {index + 1} so that its answer cannot be found again. "
                "Choose another model.chat_template."
            )
        last = index == len(conversation.messages) - 1
        spans.append(Span(found[0], found[1], trained=message.trained is not False, last=last))
    return spans


def _by_prefix(conversation: Conversation, index: int) -> tuple[int, int] | None:
    """The difference of two renderings; what the end-of-turn token is followed by (a line break) is left out."""
    if index == 0:
        return None  # nothing comes before, and no template renders nothing
    upto = conversation.render(conversation.messages[: index + 1])
    before = conversation.render(conversation.messages[:index], prompt=True)
    if not conversation.text.startswith(upto) or not upto.startswith(before):
        return None
    return len(before), max(len(before), len(upto.rstrip()))


def _by_generation(conversation: Conversation, index: int) -> tuple[int, int] | None:
    """The run of tokens that the template itself marks as generated, when there is one for each answer."""
    if "{% generation" not in conversation.template and "{%- generation" not in conversation.template:
        return None
    turns = [{"role": message.role, "content": message.content} for message in conversation.messages]
    encoded = conversation.tokenizer.apply_chat_template(
        turns,
        chat_template=conversation.template,
        return_dict=True,
        return_assistant_tokens_mask=True,
        tokenizer_kwargs={"return_offsets_mapping": True},
    )
    runs: list[list[int]] = []
    for (start, end), marked, before in zip(
        encoded["offset_mapping"], encoded["assistant_masks"], [0, *encoded["assistant_masks"]], strict=False
    ):
        if marked and not before:
            runs.append([start, end])
        elif marked:
            runs[-1][1] = end
    answers = [place for place, message in enumerate(conversation.messages) if message.role == "assistant"]
    if len(runs) != len(answers):
        return None
    start, end = runs[answers.index(index)]
    return start, _with_closing(conversation, index, len(conversation.text[:end].rstrip()))


def _by_mark(conversation: Conversation, index: int) -> tuple[int, int] | None:
    """The answer's own text, found by a mark before and one behind it, without a thought that the template drops."""
    content = conversation.messages[index].content
    for body in (content.strip(), content.rpartition("</think>")[2].strip()):
        at = content.rfind(body)
        start = _place_of_mark(conversation, index, content[:at] + MARK + content[at:])
        end = _place_of_mark(conversation, index, content[: at + len(body)] + MARK + content[at + len(body) :])
        if start is not None and end is not None:
            return start, _with_closing(conversation, index, end)
    return None


def _place_of_mark(conversation: Conversation, index: int, content: str) -> int | None:
    """Where the mark in `content` comes out; None when the template loses it or changes something else with it."""
    messages = list(conversation.messages)
    messages[index] = Message(messages[index].role, content)
    text = conversation.render(messages)
    place = text.find(MARK)
    return place if place >= 0 and text.replace(MARK, "", 1) == conversation.text else None


def _with_closing(conversation: Conversation, index: int, end: int) -> int:
    """`end` moved behind the end-of-turn token, if the template puts one there."""
    closing, rest = conversation.closing_of(index), conversation.text[end:]
    if closing and rest.lstrip().startswith(closing):
        return end + rest.index(closing) + len(closing)
    return end
