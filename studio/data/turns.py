"""From the turns of a conversation, as ShareGPT and OpenAI write them, to messages: roles, contents, tool calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from studio.data.examples import DataError, Message, Role, ToolCall
from studio.data.registry import DatasetEntry
from studio.data.values import Row, as_json, from_json, mapping, not_blank, sequence, shown, string, whole

CALLS = "calls"  # stands for a turn whose whole content is a call


def read_turns(turns: Sequence[Any], entry: DatasetEntry) -> list[Message]:
    """The messages of a conversation. Raises DataError that names the turn."""
    roles = _roles(entry)
    return [read_turn(turn, place, roles, entry) for place, turn in enumerate(turns, start=1)]


def read_turn(turn: Any, place: int, roles: Mapping[str, Role | str], entry: DatasetEntry) -> Message:
    """One turn, the `place`-th of its conversation."""
    role_tag, content_tag = entry.tags["role_tag"], entry.tags["content_tag"]
    if not isinstance(turn, dict) or role_tag not in turn:
        raise DataError(
            f"turn {place} has no {role_tag!r}. Name the keys of a turn under tags in dataset_info.json.", "missing"
        )
    fields = cast("Row", turn)
    tag = fields[role_tag]
    role = roles.get(tag) if isinstance(tag, str) else None
    if role is None:
        raise DataError(f"turn {place} has {role_tag}={shown(tag)}, which is none of: {', '.join(roles)}.", "roles")
    if role == CALLS:
        return Message("assistant", "", calls=_calls_in_text(string(fields, content_tag), place))
    calls = _openai_calls(fields, place)
    content = _content(fields, content_tag, optional=bool(calls))
    if role == "assistant" and not calls:
        not_blank(content, f"{content_tag} of turn {place}")
    # OpenAI's fine-tuning format leaves an answer out of the loss by "weight": 0.
    trained = False if role == "assistant" and fields.get("weight") == 0 else None
    call_id = string(fields, "tool_call_id", optional=True) if role == "tool" else ""
    return Message(cast("Role", role), content, trained, calls, call_id)


def check_order(messages: Sequence[Message]) -> None:
    """Refuses a system text that is not first and a tool's result that answers no call. Raises DataError."""
    called = False
    for index, message in enumerate(messages):
        if message.role == "system" and index:
            raise DataError("a system text may only come once, at the start.", "roles")
        if message.role == "tool" and not called:
            raise DataError(f"turn {index + 1} is a tool turn, but no call comes before it.", "roles")
        called = bool(message.calls) or (called and message.role == "tool")


def answer_of(value: Any, column: str, entry: DatasetEntry) -> Message:
    """One answer of a preference: text, a turn, or a list of turns of which the last counts. Raises DataError."""
    turns = sequence(value)
    if turns:
        value = turns[-1]
    if isinstance(value, dict):
        message = read_turn(cast("Row", value), len(turns) or 1, _roles(entry), entry)
        if message.role != "assistant":
            raise DataError(f"{column!r} must be an answer, but is a turn of {message.role}.", "roles")
        return message
    if value is None:
        raise DataError(f"it has no {column!r}.", "missing")
    if not isinstance(value, str):
        raise DataError(f"{column!r} must be an answer, but is {shown(value)}.", "type")
    return Message("assistant", not_blank(whole(value, repr(column)), column))


def _roles(entry: DatasetEntry) -> dict[str, Role | str]:
    tags = entry.tags
    roles: dict[str, Role | str] = {
        tags["system_tag"]: "system",
        tags["user_tag"]: "user",
        tags["assistant_tag"]: "assistant",
        tags["observation_tag"]: "tool",
        tags["function_tag"]: CALLS,
    }
    # Newer names of the same roles, where the entry gives them no other meaning.
    for name, role in (("tool", "tool"), ("developer", "system")):
        if entry.formatting == "openai" or name == "tool":
            roles.setdefault(name, role)
    return roles


def _content(fields: Row, column: str, optional: bool) -> str:
    """The text of a turn; OpenAI also writes it as a list of parts, of which only text can be read."""
    parts = fields.get(column)
    if not isinstance(parts, list):
        return string(fields, column, optional)
    texts: list[str] = []
    for part in cast("list[Any]", parts):
        piece = mapping(part)
        if not isinstance(piece.get("text"), str):
            raise DataError(f"{column!r} has a part that is no text: {shown(part)}.", "type")
        texts.append(whole(piece["text"], repr(column)))
    return "".join(texts)


def _calls_in_text(text: str, place: int) -> tuple[ToolCall, ...]:
    name = f"the call in turn {place}"
    value = from_json(not_blank(text, name), name)
    calls = cast("list[Any]", value) if isinstance(value, list) else [value]
    return tuple(_call(call, place) for call in calls)


def _openai_calls(fields: Row, place: int) -> tuple[ToolCall, ...]:
    value = fields.get("tool_calls")
    if value is None:
        return ()
    if not isinstance(value, list):
        raise DataError(f"'tool_calls' of turn {place} must be a list, but is {shown(value)}.", "type")
    return tuple(_call(call, place) for call in cast("list[Any]", value))


def _call(value: Any, place: int) -> ToolCall:
    outer = mapping(value)
    call = mapping(outer.get("function", outer))
    name, arguments = call.get("name"), call.get("arguments", {})
    if not isinstance(name, str) or not name:
        raise DataError(f"the call in turn {place} names no function: {shown(value)}.", "missing")
    if isinstance(arguments, str):
        from_json(arguments or "{}", f"arguments of {name} in turn {place}")
    elif not isinstance(arguments, dict):
        raise DataError(f"the arguments of {name} in turn {place} must be an object: {shown(arguments)}.", "type")
    return ToolCall(name, as_json(cast("Any", arguments)) or "{}", str(outer.get("id") or ""))
