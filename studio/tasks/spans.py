"""Where the answers lie in the text that a chat template makes of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from jinja2.exceptions import TemplateError

from studio.data.examples import DataError, Message
from studio.tasks.rendering import render
from studio.tasks.templates import tool_template_names
from studio.tasks.tools import Turn, as_tools, as_turns, fitting_form, uses_tools

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
    """A conversation together with the template that turns it into text. `tools` is the JSON text of those offered."""

    def __init__(self, messages: Sequence[Message], tokenizer: Any, template: str, tools: str = "") -> None:
        self.messages = messages
        self.tokenizer = tokenizer
        self.template = template
        self.tools = as_tools(tools)

    @cached_property
    def turns(self) -> list[Turn]:
        """The messages as the template takes them. Raises DataError for tools, calls or results that it would lose."""
        if not self.tools and not uses_tools(self.messages):
            return [{"role": message.role, "content": message.content} for message in self.messages]
        as_turns(self.messages)  # what is wrong with the row itself is no fault of the template
        try:
            form = fitting_form(self.messages, self.tools, self._render)
        except DataError as error:
            reason, fitting = str(error).rstrip("."), ", ".join(tool_template_names())
            raise DataError(f"{reason}. Templates with a place for tools: {fitting}.", error.problem) from error
        return as_turns(self.messages, form)

    @cached_property
    def text(self) -> str:
        """The whole conversation as the model sees it."""
        return self.render_turns(self.turns)

    @cached_property
    def specials(self) -> tuple[str, ...]:
        """The tokenizer's special tokens as text."""
        return special_tokens(self.tokenizer)

    def render(self, messages: Sequence[Message], prompt: bool = False) -> str:
        """The text of some messages, with `prompt` up to where an answer begins. Raises DataError when refused."""
        return self.render_turns(as_turns(messages), prompt)

    def render_turns(self, turns: list[Turn], prompt: bool = False) -> str:
        """The same for turns in the template's own form."""
        return self._render(turns, self.tools, prompt)

    def upto(self, index: int) -> str:
        """The conversation when it ends with turn `index`."""
        last = index == len(self.messages) - 1
        return self.text if last else self.render_turns(self.turns[: index + 1])

    def asking(self, index: int) -> str:
        """What the model is given to write turn `index`."""
        return self.render_turns(self.turns[:index], prompt=True)

    def is_closed(self, span: Span) -> bool:
        """Whether the template ends the last answer with a special token; one of the answer's own does not count."""
        text = self.text[span.start : span.end]
        return text.endswith(self.specials) and text.strip() != self.messages[-1].content.strip()

    def closing_of(self, index: int) -> str:
        """The special token that the template puts behind an answer that comes last, "" for none."""
        try:
            text = self.upto(index).rstrip()
        except DataError:  # some templates want a question before any answer
            text = self.render_turns([{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]).rstrip()
        return max((token for token in self.specials if text.endswith(token)), key=len, default="")

    def _render(self, turns: list[Turn], tools: list[Turn] | None, prompt: bool = False) -> str:
        try:
            return render(self.tokenizer, self.template, turns, tools, prompt)
        except (TemplateError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the chat template refuses it: {' '.join(str(error).split())}") from error


@lru_cache(maxsize=8)
def special_tokens(tokenizer: Any) -> tuple[str, ...]:
    """A tokenizer's special tokens as text, as they are when first asked for: some tokenizers have thousands, and
    every row asks."""
    added = tokenizer.added_tokens_decoder.values()
    known = (*tokenizer.all_special_tokens, *(token.content for token in added if token.special))
    return tuple(token for token in known if token)


def answer_spans(conversation: Conversation) -> list[Span]:
    """One span for each answer, in order. Raises DataError when the template hides where an answer lies.

    An answer is what a rendering that ends behind it has more than one that ends where it is asked for. Templates that
    rewrite earlier turns have no such difference there: then their generation markers say it, else the answer is found
    by marks. Answers that are calls are found like those in words.
    """
    spans: list[Span] = []
    last = len(conversation.messages) - 1
    for index, message in enumerate(conversation.messages):
        if message.role != "assistant":
            continue
        found = _find(conversation, index)
        if found is None:
            raise DataError(
                f"the chat template changes turn {index + 1} so that its answer cannot be found again. "
                "Choose another model.chat_template."
            )
        spans.append(Span(found[0], found[1], trained=message.trained is not False, last=index == last))
    return spans


def _find(conversation: Conversation, index: int) -> tuple[int, int] | None:
    """The answer by the first way that finds it. A way may render parts of the conversation that the template refuses,
    although it takes the whole."""
    whole = conversation.text
    for way in (_by_prefix, _by_generation, _by_moving, _by_replacing, _by_mark):
        try:
            found = way(conversation, index)
        except DataError:
            continue
        if found is not None and 0 <= found[0] <= found[1] <= len(whole):
            return found
    return None


def _by_prefix(conversation: Conversation, index: int) -> tuple[int, int] | None:
    """The difference of two renderings; what the end-of-turn token is followed by (a line break) is left out."""
    if index == 0:
        return None  # nothing comes before, and no template renders nothing
    upto, before = conversation.upto(index), conversation.asking(index)
    if not conversation.text.startswith(upto) or not upto.startswith(before):
        return None
    return len(before), max(len(before), len(upto.rstrip()))


def _by_generation(conversation: Conversation, index: int) -> tuple[int, int] | None:
    """The characters that the template itself marks as generated, when there is one run of them for each answer."""
    if "{% generation" not in conversation.template and "{%- generation" not in conversation.template:
        return None
    from transformers.utils.chat_template_utils import render_jinja_template

    render: Any = render_jinja_template
    _, marked = render(
        [conversation.turns],
        tools=conversation.tools,
        chat_template=conversation.template,
        return_assistant_tokens_mask=True,
        **conversation.tokenizer.special_tokens_map,
    )
    answers = [place for place, message in enumerate(conversation.messages) if message.role == "assistant"]
    if len(marked[0]) != len(answers):
        return None
    start, end = marked[0][answers.index(index)]
    return start, max(start, _with_closing(conversation, index, end))


def _by_moving(conversation: Conversation, index: int) -> tuple[int, int] | None:
    """The difference of two renderings, found again elsewhere: the template has moved or changed what comes before."""
    if index == 0:
        return None
    upto, before, text = conversation.upto(index), conversation.asking(index), conversation.text
    if not upto.startswith(before):
        return None
    answer = upto[len(before) :].rstrip()
    turns, marked = conversation.turns, _marked(conversation.turns[index])
    inner = conversation.render_turns([*turns[:index], marked]).find(MARK)
    with_mark = conversation.render_turns([*turns[:index], marked, *turns[index + 1 :]])
    outer = with_mark.find(MARK)
    start = outer - (inner - len(before))
    if inner < len(before) or start < 0 or with_mark[:outer] != text[:outer] or not text.startswith(answer, start):
        return None
    return start, start + len(answer)


def _marked(turn: Turn) -> Turn:
    """The turn with a mark at its beginning: of its first call's name, else of its words."""
    if turn.get("tool_calls"):
        first, *others = turn["tool_calls"]
        function = first["function"] | {"name": MARK + first["function"]["name"]}
        return turn | {"tool_calls": [first | {"function": function}, *others]}
    words = turn["content"].lstrip()
    return turn | {"content": turn["content"][: len(turn["content"]) - len(words)] + MARK + words}


def _by_replacing(conversation: Conversation, index: int) -> tuple[int, int] | None:
    """What disappears when the answer is exchanged for a mark and nothing around it changes."""
    turns, text = conversation.turns, conversation.text
    around = [*turns[:index], {"role": "assistant", "content": MARK}], turns[index + 1 :]
    head, mark, tail = conversation.render_turns([*around[0], *around[1]]).partition(MARK)
    if not mark or not text.startswith(head) or not text.endswith(tail) or len(head) + len(tail) > len(text):
        return None
    results = [turn for turn in around[1] if turn["role"] == "tool"]
    if "tool_calls" in turns[index] and results:
        # Some templates drop a result without its call: it would be taken for a part of the answer.
        kept = [turn | {"content": turn["content"].rstrip() + MARK} if turn in results else turn for turn in around[1]]
        if conversation.render_turns([*around[0], *kept]).count(MARK) != 1 + len(results):
            return None
    lead = _lead(conversation)
    start = len(head) - len(lead) if head.endswith(lead) else len(head)
    return start, max(start, _with_closing(conversation, index, len(text) - len(tail)))


def _lead(conversation: Conversation) -> str:
    """White space between where the template asks for an answer and its first letter: the model has to write it."""
    question = {"role": "user", "content": "?"}
    try:
        asked = conversation.render_turns([question], prompt=True)
        head = conversation.render_turns([question, {"role": "assistant", "content": MARK}]).partition(MARK)[0]
    except DataError:
        return ""
    return head[len(asked) :] if head.startswith(asked) and head[len(asked) :].isspace() else ""


def _by_mark(conversation: Conversation, index: int) -> tuple[int, int] | None:
    """The answer's own text, found by a mark before and one behind it, without a thought that the template drops."""
    content = conversation.messages[index].content
    if conversation.messages[index].calls:
        return None
    for body in (content.strip(), content.rpartition("</think>")[2].strip()):
        at = content.rfind(body)
        start = _place_of_mark(conversation, index, content[:at] + MARK + content[at:])
        end = _place_of_mark(conversation, index, content[: at + len(body)] + MARK + content[at + len(body) :])
        if start is not None and end is not None:
            return start, _with_closing(conversation, index, end)
    return None


def _place_of_mark(conversation: Conversation, index: int, content: str) -> int | None:
    """Where the mark in `content` comes out; None when the template loses it or changes something else with it."""
    turns = list(conversation.turns)
    turns[index] = turns[index] | {"content": content}
    text = conversation.render_turns(turns)
    place = text.find(MARK)
    return place if place >= 0 and text.replace(MARK, "", 1) == conversation.text else None


def _with_closing(conversation: Conversation, index: int, end: int) -> int:
    """`end` moved behind the end-of-turn token, if the template puts one there, else before the white space."""
    closing, rest = conversation.closing_of(index), conversation.text[end:]
    if closing and rest.lstrip().startswith(closing):
        return end + rest.index(closing) + len(closing)
    return len(conversation.text[:end].rstrip())
