"""From one row of a file to an Example: alpaca, sharegpt, OpenAI messages, preferences, judgements, prompts, text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

from studio.data.examples import DataError, Example, Message
from studio.data.files import RawRow
from studio.data.registry import DatasetEntry
from studio.data.turns import answer_of, check_order, read_turns
from studio.data.values import Row, as_json, fill, from_json, items, not_blank, sequence, shown, string, verdict, whole

Make = Callable[..., Example]  # an Example that knows its place already
MEDIA = ("images", "videos", "audios")


def read_row(raw: RawRow, entry: DatasetEntry) -> Example:
    """The Example in `raw` by the entry's format. Raises DataError with the reason alone, without the place."""
    make = partial(Example, raw.source, raw.row, line=raw.line)
    if raw.plain:
        return make(text=not_blank(whole(raw.value, "the line"), "the line"))
    value: object = raw.value
    if not isinstance(value, dict):
        raise DataError(f"it is a {type(value).__name__}, not an object.", "type")
    row = cast("Row", fill(cast("Row", value), entry.fill))
    example = _READERS[entry.formatting](row, entry, make)
    return replace(example, media=_media(row, entry)) if entry.named_columns.intersection(MEDIA) else example


def _alpaca(row: Row, entry: DatasetEntry, make: Make) -> Example:
    columns = entry.columns
    if entry.ranking:
        return _preference(row, entry, make, _question(row, entry))
    prompt = string(row, columns["prompt"])
    # LLaMA-Factory's way to say plain text: an entry that names a prompt and no response.
    if "prompt" in entry.named_columns and "response" not in entry.named_columns and columns["response"] not in row:
        return make(text=not_blank(prompt, columns["prompt"]))
    answer = not_blank(string(row, columns["response"]), columns["response"])
    messages = (*_question(row, entry), Message("assistant", answer))
    return make(messages=messages, label=_label(row, entry), tools=_tools(row, entry, False))


def _question(row: Row, entry: DatasetEntry) -> tuple[Message, ...]:
    """All that comes before the answer of an alpaca row."""
    columns = entry.columns
    prompt, query = string(row, columns["prompt"]), string(row, columns["query"], optional=True)
    question = not_blank("\n".join(part for part in (prompt, query) if part), columns["prompt"])
    return (*_system(row, columns["system"]), *_history(row, columns["history"]), Message("user", question))


def _history(row: Row, column: str) -> list[Message]:
    messages: list[Message] = []
    for turn in items(row, column):
        pair = sequence(turn)
        if len(pair) != 2 or not all(isinstance(side, str) for side in pair):
            raise DataError(f"{column!r} must be a list of [question, answer] pairs, but has {shown(turn)}.", "type")
        messages += [Message("user", whole(pair[0], column)), Message("assistant", whole(pair[1], column))]
    return messages


def _chat(row: Row, entry: DatasetEntry, make: Make) -> Example:
    messages = _conversation(row, entry)
    if entry.ranking:
        return _preference(row, entry, make, messages)
    if not any(message.role == "assistant" for message in messages):
        tags = entry.tags
        raise DataError(f"it has no answer: no turn with {tags['role_tag']}={tags['assistant_tag']!r}.", "roles")
    label = _label(row, entry)
    if label is not None and messages[-1].role != "assistant":
        raise DataError("it judges an answer, but its last turn is none.", "roles")
    return make(messages=messages, label=label, tools=_tools(row, entry, True))


def _conversation(row: Row, entry: DatasetEntry) -> tuple[Message, ...]:
    column = entry.columns["messages"]
    turns = row.get(column)
    if isinstance(turns, str) and turns.lstrip().startswith("["):  # a cell of a table
        turns = from_json(turns, column)
    if column not in row and entry.ranking:  # the prompt is what both answers begin with
        turns = _shared_turns(row, entry)
    if not isinstance(turns, list) or not turns:
        problem = "missing" if turns is None else "empty" if turns == [] else "type"
        raise DataError(f"{column!r} must be a list of turns, but is {shown(turns)}.", problem)
    messages = (*_system(row, entry.columns["system"]), *read_turns(cast("list[Any]", turns), entry))
    check_order(messages)
    return messages


def _shared_turns(row: Row, entry: DatasetEntry) -> list[Any] | None:
    sides = [row.get(entry.columns[key]) for key in ("chosen", "rejected")]
    if not all(isinstance(side, list) and len(cast("list[Any]", side)) > 1 for side in sides):
        return None
    chosen, rejected = (cast("list[Any]", side) for side in sides)
    if chosen[:-1] != rejected[:-1]:
        raise DataError("the chosen and the rejected conversation differ before their last turn.", "roles")
    return chosen[:-1]


def _preference(row: Row, entry: DatasetEntry, make: Make, messages: tuple[Message, ...]) -> Example:
    chosen, rejected = (answer_of(row.get(entry.columns[key]), entry.columns[key], entry)
                        for key in ("chosen", "rejected"))  # fmt: skip
    if messages[-1].role not in ("user", "tool"):
        raise DataError("the turns before the two answers must end with a question.", "roles")
    return make(messages=messages, chosen=chosen, rejected=rejected, tools=_tools(row, entry, True))


def _prompt(row: Row, entry: DatasetEntry, make: Make) -> Example:
    columns = entry.columns
    column = columns["messages"] if columns["messages"] in row else columns["prompt"]
    if isinstance(row.get(column), list):
        turns = cast("list[Any]", row[column])
        messages = (*_system(row, columns["system"]), *read_turns(turns, entry))
        check_order(messages)
        if not messages or messages[-1].role == "assistant":
            raise DataError(f"{column!r} must end with a question.", "roles")
    else:
        question = not_blank(string(row, column), column)
        messages = (*_system(row, columns["system"]), Message("user", question))
    return make(messages=messages, tools=_tools(row, entry, True))


def _text_row(row: Row, entry: DatasetEntry, make: Make) -> Example:
    column = entry.columns["prompt"] if "prompt" in entry.named_columns else entry.columns["text"]
    return make(text=not_blank(string(row, column), column))


_READERS: Mapping[str, Callable[[Row, DatasetEntry, Make], Example]] = {
    "alpaca": _alpaca,
    "sharegpt": _chat,
    "openai": _chat,
    "text": _text_row,
    "prompt": _prompt,
}


def _system(row: Row, column: str) -> list[Message]:
    text = string(row, column, optional=True)
    return [Message("system", text)] if text else []


def _tools(row: Row, entry: DatasetEntry, by_default: bool) -> str:
    """JSON text of the tools offered, "" for none; alpaca rows have them only where the entry names the column."""
    if not by_default and "tools" not in entry.named_columns:
        return ""
    column = entry.columns["tools"]
    value = row.get(column)
    if isinstance(value, str):
        value = from_json(value, column) if value.strip() else None
    if value is not None and not isinstance(value, (list, dict)):
        raise DataError(f"{column!r} must be a list of tools, but is {shown(value)}.", "type")
    return as_json(cast("Any", value)) if value else ""


def _label(row: Row, entry: DatasetEntry) -> bool | None:
    column = entry.columns.get("kto_tag")
    return None if column is None else verdict(row.get(column), column)


def _media(row: Row, entry: DatasetEntry) -> tuple[str, ...]:
    """Names of the pictures, sounds and films of a row. What is embedded is named by its column and place."""
    names: list[str] = []
    for key in MEDIA:
        column = entry.columns.get(key)
        value = None if column is None else row.get(column)
        for place, item in enumerate(sequence(value) or ([value] if value else [])):
            names.append(item if isinstance(item, str) else f"{column}[{place}]")
    return tuple(names)
