"""Rows as the page shows them: raw cells and what the trainer reads in them, long texts cut."""

from __future__ import annotations

import json
from typing import Any

from studio.data.examples import BadRow, DataError, Example, Message
from studio.data.files import RawRow
from studio.data.reading import example_of, refuse_untrainable
from studio.data.registry import DatasetEntry
from studio.data.values import mapping

CELL = 1500  # characters of a raw cell
SAID = 4000  # characters of one turn


def shown_row(raw: RawRow | BadRow, entry: DatasetEntry | None, most: int = SAID) -> dict[str, Any]:
    """One row: its place, its cells as text, and `read` or the `fault` that keeps it from being read.

    A whole row that no stage can train on so far has a `hint`. Texts are cut at `most` characters.
    """
    at: dict[str, Any] = {"row": raw.row, "line": raw.line}
    if isinstance(raw, BadRow):
        return {**at, "cells": {}, "fault": raw.reason, "problem": raw.problem}
    shown = {**at, "cells": cells_of(raw, CELL if most == SAID else most)}
    if entry is None:
        return shown
    read = example_of(raw, entry)
    if isinstance(read, BadRow):
        return {**shown, "fault": read.reason, "problem": read.problem}
    shown["read"] = shown_example(read, most)
    try:
        refuse_untrainable(read)
    except DataError as error:
        shown |= {"hint": str(error), "problem": error.problem}
    return shown


def cells_of(raw: RawRow, most: int = CELL) -> dict[str, str]:
    """The columns of a raw row as text, what is no text as JSON; a row that is no object is one cell."""
    value: object = raw.value
    values = mapping(value) if isinstance(value, dict) else {"text" if raw.plain else "value": value}
    return {str(name): cut(cell_text(value), most) for name, value in values.items()}


def cell_text(value: Any) -> str:
    """One cell as text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def cut(text: str, most: int) -> str:
    """`text`, at most `most` characters of it; an ellipsis says that there is more."""
    return text if len(text) <= most else text[:most] + "…"


def shown_example(example: Example, most: int = SAID) -> dict[str, Any]:
    """What the trainer reads in a row, as turns with who speaks."""
    turns = [_turn(message, message.role, most) for message in example.messages]
    if example.text is not None:
        turns.append({"who": "text", "said": cut(example.text, most)})
    for who, side in (("chosen", example.chosen), ("rejected", example.rejected)):
        if side is not None:
            turns.append(_turn(side, who, most))
    return {
        "kind": example.kind,
        "turns": turns,
        "tools": cut(example.tools, most),
        "label": example.label,
        "media": list(example.media),
    }


def _turn(message: Message, who: str, most: int) -> dict[str, Any]:
    turn: dict[str, Any] = {"who": who, "said": cut(message.content, most)}
    if message.calls:
        turn["calls"] = [f"{call.name}({cut(call.arguments, most)})" for call in message.calls]
    if message.trained is False:
        turn["untrained"] = True
    return turn
