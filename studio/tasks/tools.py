"""Tools, calls and results as chat templates take them, and whether a template shows every one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, NamedTuple, cast

from studio.data.examples import DataError, Message, ToolCall
from studio.data.values import from_json, mapping, shown

Turn = dict[str, Any]
Render = Callable[[list[Turn], list[Turn] | None], str]

# A letter of Linear A: printable, so a template that writes values the way Python shows them keeps it, and in no data.
SIGN = "\U00010600"


class Form(NamedTuple):
    """How a template wants calls: `text`, the arguments as JSON text and not as a mapping; `short_ids`, ids of nine
    letters and digits as Mistral's templates demand, whatever the data says."""

    text: bool = False
    short_ids: bool = False


FORMS = (Form(), Form(text=True), Form(short_ids=True), Form(text=True, short_ids=True))


def uses_tools(messages: Sequence[Message]) -> bool:
    """Whether a turn is a tool's or holds a call."""
    return any(message.calls or message.role == "tool" for message in messages)


def as_tools(text: str) -> list[Turn] | None:
    """The tools offered, in OpenAI's form: {"type": "function", "function": {"name", ...}}; None for none.

    `text` is JSON: a list or a single one, each with or without the outer object. Raises DataError.
    """
    if not text:
        return None
    value = from_json(text, "tools")
    return [_as_tool(tool) for tool in (cast("list[Any]", value) if isinstance(value, list) else [value])]


def _as_tool(value: Any) -> Turn:
    function = mapping(mapping(value).get("function", value))
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise DataError(f"one of its tools has no name: {shown(value)}.", "missing")
    return {"type": "function", "function": dict(function)}


def as_turns(messages: Sequence[Message], form: Form = FORMS[0]) -> list[Turn]:
    """Messages in OpenAI's form. A result carries the id and the name of its call; raises DataError for arguments that
    are no object."""
    turns: list[Turn] = []
    pending: list[Turn] = []  # calls that still wait for a result
    known: dict[str, Turn] = {}  # by the ids that the data gives
    for place, message in enumerate(messages, start=1):
        turn: Turn = {"role": message.role, "content": message.content}
        if message.calls:
            calls = [_as_call(call, f"{place}.{number}", form) for number, call in enumerate(message.calls)]
            turn["tool_calls"], pending = calls, [*calls]
            known |= {call.id: made for call, made in zip(message.calls, calls, strict=True) if call.id}
        elif message.role == "tool" and (pending or message.call_id in known):
            answered = known.get(message.call_id) or pending[0]
            # A last call is kept, for a result that comes in several turns.
            pending = [call for call in pending if call is not answered] or pending[-1:]
            turn |= {"tool_call_id": answered["id"], "name": answered["function"]["name"]}
        turns.append(turn)
    return turns


def _as_call(call: ToolCall, place: str, form: Form) -> Turn:
    arguments = from_json(call.arguments or "{}", f"arguments of {call.name}")
    if not isinstance(arguments, dict):
        raise DataError(f"the arguments of {call.name} must be an object, but are {shown(arguments)}.", "type")
    # Where the data gives no id, one is made of the call itself: the same row always gives the same text.
    made = hashlib.sha256(f"{place} {call.name} {call.arguments}".encode()).hexdigest()[:9]
    return {
        "id": made if form.short_ids or not call.id else call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments if form.text else cast("Turn", arguments)},
    }


def fitting_form(messages: Sequence[Message], tools: list[Turn] | None, render: Render) -> Form:
    """The first form under which the template shows all tools, calls and results.

    Found by rendering the conversation once more with a mark in each of them. Raises DataError that names what the
    template leaves out, or its reason when it refuses the conversation. `as_turns` must have taken the messages.
    """
    faults: list[DataError] = []
    for form in FORMS:
        try:
            missing = _missing(messages, tools, render, form)
        except DataError as error:
            faults.append(error)
            continue
        if not missing:
            return form
        faults.append(DataError(f"the chat template leaves out {missing}", "type"))
    # What is left out says more than a refusal, which may come from a form that the template was never meant for.
    raise next((fault for fault in faults if fault.problem == "type"), faults[0])


def _missing(messages: Sequence[Message], tools: list[Turn] | None, render: Render, form: Form) -> str:
    """What the template leaves out, "" for nothing."""
    marks = _Marks()
    offered = [marks.tool(tool) for tool in tools] if tools else None
    turns = as_turns([marks.message(message, place) for place, message in enumerate(messages, start=1)], form)
    text = render(turns, offered)
    for mark, what in marks.stands_for.items():
        if mark not in text:
            return what
    for call in _calls(turns):
        # The way Python shows a mapping is no JSON: then the template wants text.
        if call["arguments"] and str(call["arguments"]) in text and not form.text:
            return f"the quotes in the arguments of {call['name'].partition(SIGN)[0]}"
    return ""


def _calls(turns: Sequence[Turn]) -> Iterator[Turn]:
    for turn in turns:
        yield from (call["function"] for call in turn.get("tool_calls", ()))


@dataclass
class _Marks:
    """Marks handed out so far, and what each stands for."""

    stands_for: dict[str, str] = field(default_factory=dict[str, str])
    numbers: Iterator[int] = field(default_factory=count)

    def _new(self, what: str) -> str:
        mark = f"{SIGN}{next(self.numbers)}{SIGN}"
        self.stands_for[mark] = what
        return mark

    def tool(self, tool: Turn) -> Turn:
        name = tool["function"]["name"]
        return tool | {"function": tool["function"] | {"name": name + self._new(f"the tool {name}.")}}

    def message(self, message: Message, place: int) -> Message:
        if message.role == "tool":
            spoken = message.content.strip() and self._new(f"the result in turn {place}.")
            return replace(message, content=message.content.rstrip() + spoken)
        if not message.calls:
            return message
        calls = tuple(self._call(call, place) for call in message.calls)
        visible = message.content.rpartition("</think>")[2].strip()
        spoken = visible and self._new(f"the words beside the call in turn {place}.")
        return replace(message, content=message.content.rstrip() + spoken, calls=calls)

    def _call(self, call: ToolCall, place: int) -> ToolCall:
        what = f"of {call.name} in turn {place}."
        name = call.name + self._new(f"the call {what}")
        given: Turn = from_json(call.arguments or "{}", f"arguments of {call.name}")
        arguments = {key + self._new(f"the argument {key} {what}"): value for key, value in given.items()}
        return replace(call, name=name, arguments=json.dumps(arguments, ensure_ascii=False))
