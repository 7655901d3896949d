"""From an Example to a row of any format that can hold it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from studio.data.examples import DataError, Example, Message
from studio.data.values import from_json

TARGETS = ("alpaca", "sharegpt", "openai", "text")
SHAREGPT_ROLES: Mapping[str, str] = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def as_row(example: Example, formatting: str) -> dict[str, Any]:
    """One row in `formatting`. Raises DataError, with the place, for an example that the format cannot hold."""
    try:
        return _WRITERS[formatting](example)
    except DataError as error:
        raise DataError(f"{example.where} cannot become {formatting}: {error}", "type") from None


def entry_for(file_name: str, formatting: str, sample: Example) -> dict[str, Any]:
    """The value of the registry entry for rows that `as_row` made of examples such as `sample`."""
    value: dict[str, Any] = {"file_name": file_name}
    if formatting != "alpaca":
        value["formatting"] = formatting
    if sample.kind == "preference":
        value["ranking"] = True
    return value | ({"columns": {"kto_tag": "label"}} if sample.label is not None else {})


def _as_openai(example: Example) -> dict[str, Any]:
    return _as_turns(example, "messages", _openai_turn)


def _as_sharegpt(example: Example) -> dict[str, Any]:
    return _as_turns(example, "conversations", _sharegpt_turn)


def _as_turns(example: Example, column: str, turn: Callable[[Message], dict[str, Any]]) -> dict[str, Any]:
    _need_turns(example)
    row: dict[str, Any] = {column: [turn(message) for message in example.messages]}
    if example.chosen and example.rejected:
        row |= {"chosen": turn(example.chosen), "rejected": turn(example.rejected)}
    if example.label is not None:
        row["label"] = example.label
    if example.tools:
        row["tools"] = from_json(example.tools, "tools")
    return row


def _openai_turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    if message.call_id:
        turn["tool_call_id"] = message.call_id
    return turn | ({"weight": 0} if message.trained is False else {})


def _sharegpt_turn(message: Message) -> dict[str, Any]:
    if message.calls:
        if message.content:
            raise DataError("an answer has words and a call, and ShareGPT knows only one of them a turn.")
        calls = [{"name": call.name, "arguments": from_json(call.arguments, "arguments")} for call in message.calls]
        value = json.dumps(calls if len(calls) > 1 else calls[0], ensure_ascii=False)
        return {"from": "function_call", "value": value}
    turn: dict[str, Any] = {"from": SHAREGPT_ROLES[message.role], "value": message.content}
    return turn | ({"weight": 0} if message.trained is False else {})


def _as_alpaca(example: Example) -> dict[str, Any]:
    _need_turns(example)
    if example.kind == "tools":
        raise DataError("alpaca knows no tool turns. Choose sharegpt or openai.")
    messages = [*example.messages]
    system = messages.pop(0).content if messages[0].role == "system" else ""
    answer = None if example.chosen else messages.pop()
    question = messages.pop() if messages else None
    pairs = list(zip(messages[::2], messages[1::2], strict=False))
    orderly = len(messages) % 2 == 0 and all(a.role == "user" and b.role == "assistant" for a, b in pairs)
    if not orderly or question is None or question.role != "user" or (answer and answer.role != "assistant"):
        raise DataError("its turns are not question and answer by turns. Choose sharegpt or openai.")
    if any(message.trained is False for message in example.messages):
        raise DataError("it leaves an answer out of training (weight 0), which alpaca cannot say.")
    row: dict[str, Any] = {"system": system} if system else {}
    row |= {"instruction": question.content, "input": ""}
    if answer:
        row["output"] = answer.content
    if example.chosen and example.rejected:
        row |= {"chosen": example.chosen.content, "rejected": example.rejected.content}
    if example.label is not None:
        row["label"] = example.label
    return row | ({"history": [[a.content, b.content] for a, b in pairs]} if pairs else {})


def _as_text(example: Example) -> dict[str, Any]:
    if example.text is None:
        raise DataError("it is a conversation; how it becomes text is the chat template's to say.")
    return {"text": example.text}


def _need_turns(example: Example) -> None:
    if example.text is not None:
        raise DataError("it is plain text, not a conversation.")
    if example.media:
        raise DataError("it has pictures, sound or film, which are not copied so far.")


_WRITERS: Mapping[str, Callable[[Example], dict[str, Any]]] = {
    "alpaca": _as_alpaca,
    "sharegpt": _as_sharegpt,
    "openai": _as_openai,
    "text": _as_text,
}
