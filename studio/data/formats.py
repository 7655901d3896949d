"""From one row of a file to an Example: alpaca, sharegpt, OpenAI messages and plain text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from studio.data.examples import DataError, Example, Message, Role
from studio.data.registry import DatasetEntry

Row = Mapping[str, Any]
PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def read_row(row: Any, entry: DatasetEntry, source: str, number: int) -> Example:
    """The Example in `row` by the entry's format. Raises DataError with the reason alone, without the place."""
    if entry.ranking:
        raise DataError("it holds preferences (ranking), which no stage here trains on.")
    if not isinstance(row, dict):
        raise DataError(f"it is a {type(row).__name__}, not an object.")
    filled = cast("Row", _fill(row, entry.fill))
    return _READERS[entry.formatting](filled, entry, source, number)


def _alpaca(row: Row, entry: DatasetEntry, source: str, number: int) -> Example:
    columns = entry.columns
    prompt = _string(row, columns["prompt"])
    if "prompt" in entry.named_columns and columns["response"] not in row:
        return Example(source, number, text=_not_blank(prompt, columns["prompt"]))
    answer = _not_blank(_string(row, columns["response"]), columns["response"])
    query = _string(row, columns["query"], optional=True)
    question = "\n".join(part for part in (prompt, query) if part)
    messages = [*_system(row, columns["system"]), *_history(row, columns["history"])]
    messages += [Message("user", _not_blank(question, columns["prompt"])), Message("assistant", answer)]
    return Example(source, number, messages=tuple(messages))


def _history(row: Row, column: str) -> list[Message]:
    value = row.get(column)
    turns = cast("list[Any]", value) if isinstance(value, list) else [value] if value else []
    messages: list[Message] = []
    for turn in turns:
        pair = cast("list[Any]", turn) if isinstance(turn, list) else []
        if len(pair) != 2 or not all(isinstance(side, str) for side in pair):
            raise DataError(f"{column!r} must be a list of [question, answer] pairs.")
        messages += [Message("user", pair[0]), Message("assistant", pair[1])]
    return messages


def _chat(row: Row, entry: DatasetEntry, source: str, number: int) -> Example:
    column, tags = entry.columns["messages"], entry.tags
    turns = row.get(column)
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{column!r} must be a list of turns, but is {_shown(turns)}.")
    roles: dict[str, Role] = {
        tags["system_tag"]: "system",
        tags["user_tag"]: "user",
        tags["assistant_tag"]: "assistant",
    }
    messages = _system(row, entry.columns["system"])
    for place, turn in enumerate(cast("list[Any]", turns), start=1):
        messages.append(_turn(turn, place, roles, entry))
    if sum(message.role == "system" for message in messages) > 1 or any(m.role == "system" for m in messages[1:]):
        raise DataError("a system text may only come once, at the start.")
    if not any(message.role == "assistant" for message in messages):
        raise DataError(f"it has no answer: no turn with {tags['role_tag']}={tags['assistant_tag']!r}.")
    return Example(source, number, messages=tuple(messages))


def _turn(turn: Any, place: int, roles: Mapping[str, Role], entry: DatasetEntry) -> Message:
    role_tag, content_tag = entry.tags["role_tag"], entry.tags["content_tag"]
    if not isinstance(turn, dict) or role_tag not in turn:
        raise DataError(f"turn {place} has no {role_tag!r}. Name the keys of a turn under tags in dataset_info.json.")
    fields = cast("Row", turn)
    tag = fields[role_tag]
    if tag in (entry.tags["observation_tag"], entry.tags["function_tag"], "tool"):
        raise DataError(f"turn {place} is a tool turn ({role_tag}={tag!r}); tools cannot be trained so far.")
    role = roles.get(tag) if isinstance(tag, str) else None
    if role is None:
        raise DataError(f"turn {place} has {role_tag}={_shown(tag)}, which is none of: {', '.join(roles)}.")
    content = _string(fields, content_tag)
    if role == "assistant":
        _not_blank(content, f"{content_tag} of turn {place}")
    # OpenAI's fine-tuning format leaves an answer out of the loss by "weight": 0.
    trained = False if role == "assistant" and fields.get("weight") == 0 else None
    return Message(role, content, trained)


def _text_row(row: Row, entry: DatasetEntry, source: str, number: int) -> Example:
    column = entry.columns["prompt"] if "prompt" in entry.named_columns else entry.columns["text"]
    return Example(source, number, text=_not_blank(_string(row, column), column))


_READERS: Mapping[str, Callable[[Row, DatasetEntry, str, int], Example]] = {
    "alpaca": _alpaca,
    "sharegpt": _chat,
    "openai": _chat,
    "text": _text_row,
}


def _system(row: Row, column: str) -> list[Message]:
    text = _string(row, column, optional=True)
    return [Message("system", text)] if text else []


def _string(row: Row, column: str, optional: bool = False) -> str:
    value = row.get(column)
    if isinstance(value, str):
        return value
    if value is None and optional:
        return ""
    if value is None:
        raise DataError(f"it has no {column!r}. It has: {', '.join(map(str, row)) or 'nothing'}.")
    raise DataError(f"{column!r} must be text, but is {_shown(value)}.")


def _not_blank(text: str, column: str) -> str:
    if not text.strip():
        raise DataError(f"{column!r} is empty.")
    return text


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fill(value: Any, fill: Mapping[str, str]) -> Any:
    """`value` with {{placeholders}} replaced in every string. Raises DataError for one that has no value.

    Double braces are ordinary text in code and templates, so they only count in a dataset that has a `fill`, and the
    two placeholders of LLaMA-Factory's identity set count everywhere.
    """
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: _filled(match, fill), value) if "{{" in value else value
    if isinstance(value, list):
        return [_fill(inner, fill) for inner in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _fill(inner, fill) for key, inner in cast("dict[str, Any]", value).items()}
    return value


def _filled(match: re.Match[str], fill: Mapping[str, str]) -> str:
    key = match.group(1)
    if key in fill:
        return fill[key]
    if fill or key in ("name", "author"):
        raise DataError(
            f"the placeholder {match.group(0)} has no value. Give it one in dataset_info.json: "
            f'"fill": {{"{key}": "..."}}.'
        )
    return match.group(0)
