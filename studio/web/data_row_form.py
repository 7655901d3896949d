"""One row as a form and back: a text for each column, a turn for each turn, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from studio.data.examples import DataError
from studio.data.registry import DatasetEntry
from studio.data.values import from_json, mapping, sequence
from studio.web.data_mapping import roles_of

_WHO = (("user", "user_tag"), ("assistant", "assistant_tag"), ("system", "system_tag"), ("tool", "observation_tag"),
        ("call", "function_tag"))  # fmt: skip
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "alpaca": ("prompt", "response"),
    "sharegpt": ("messages",),
    "openai": ("messages",),
    "prompt": ("prompt",),
    "text": ("text",),
}


def form_of(value: Any, entry: DatasetEntry) -> dict[str, Any]:
    """The fields of a row in its columns' order, its turns where it has a conversation, and all of it as JSON.

    A row that is no object has no fields: it is edited as JSON.
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    if not isinstance(value, dict):
        return {"fields": [], "turns": None, "json": text}
    row = mapping(value)
    roles = roles_of(entry, [str(key) for key in row])
    talk = next((column for column, role in roles.items() if role == "messages" and _turns(row[column])), "")
    fields = [
        {
            "column": column,
            "role": roles.get(column, ""),
            "text": inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False),
            "json": not isinstance(inner, str),
        }
        for column, inner in row.items()
        if column != talk
    ]
    return {"fields": fields, "turns": _turn_form(talk, row[talk], entry) if talk else None, "json": text}


def new_value(entry: DatasetEntry, plain: bool) -> dict[str, Any]:
    """An empty row of the dataset, with the columns that its format cannot be without."""
    if plain:
        return {"text": ""}
    needed = [key for key in _NEEDED[entry.formatting] if not (entry.ranking and key == "response")]
    columns = [entry.columns[key] for key in (*needed, *(("chosen", "rejected") if entry.ranking else ()))]
    value: dict[str, Any] = dict.fromkeys(columns, "")
    if "messages" in needed:
        tags = entry.tags
        pair = ("user_tag",) if entry.ranking else ("user_tag", "assistant_tag")
        value[entry.columns["messages"]] = [{tags["role_tag"]: tags[who], tags["content_tag"]: ""} for who in pair]
        for side in ("chosen", "rejected") if entry.ranking else ():
            value[entry.columns[side]] = {tags["role_tag"]: tags["assistant_tag"], tags["content_tag"]: ""}
    return value


def edited(value: Any, entry: DatasetEntry, edit: Mapping[str, Any]) -> dict[str, Any]:
    """The row after an edit: {"json": text}, or {"fields": {column: text}, "turns": [{"old", "who", "said"}, …]}.

    What the form does not show stays as it was: other keys of a turn, numbers as they were written. Raises DataError.
    """
    if isinstance(edit.get("json"), str):
        made = from_json(edit["json"], "the row")
        if not isinstance(made, dict):
            raise DataError(f"A row must be an object of columns, but this is a {type(made).__name__}.")
        return cast("dict[str, Any]", made)
    row = dict(mapping(value))
    for column, text in mapping(edit.get("fields")).items():
        row[str(column)] = _field(row.get(str(column), ""), str(column), str(text))
    if edit.get("turns") is not None:
        column = str(edit.get("column") or entry.columns["messages"])
        turns = _edited_turns(_turns(row.get(column)) or [], sequence(edit["turns"]), entry)
        row[column] = json.dumps(turns, ensure_ascii=False) if isinstance(row.get(column), str) else turns
    return row


def _field(before: Any, column: str, text: str) -> Any:
    """Text stays text; what was another kind of value is read as JSON, and an emptied one becomes null."""
    if isinstance(before, str):
        return text
    return from_json(text, column) if text.strip() else None


def _turns(value: Any) -> list[Any] | None:
    """A list of turns, also as a table's cell holds it; None for anything else."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = from_json(value, "")
        except DataError:
            return None
    turns = sequence(value)
    return turns if turns and all(isinstance(turn, dict) for turn in turns) else None


def _turn_form(column: str, value: Any, entry: DatasetEntry) -> dict[str, Any]:
    role_tag, content_tag = entry.tags["role_tag"], entry.tags["content_tag"]
    shown: list[dict[str, Any]] = []
    for place, turn in enumerate(_turns(value) or []):
        fields = mapping(turn)
        said = fields.get(content_tag)
        shown.append({
            "old": place,
            "who": str(fields.get(role_tag, "")),
            "said": said if isinstance(said, str) else "" if said is None else json.dumps(said, ensure_ascii=False),
            "more": sorted(str(key) for key in fields if key not in (role_tag, content_tag)),
        })  # fmt: skip
    known = [{"value": entry.tags[tag], "who": who} for who, tag in _WHO]
    return {"column": column, "list": shown, "speakers": known}


def _edited_turns(before: list[Any], wanted: list[Any], entry: DatasetEntry) -> list[dict[str, Any]]:
    role_tag, content_tag = entry.tags["role_tag"], entry.tags["content_tag"]
    made: list[dict[str, Any]] = []
    for turn in wanted:
        fields = mapping(turn)
        old = fields.get("old")
        known = dict(mapping(before[old])) if isinstance(old, int) and 0 <= old < len(before) else dict[str, Any]()
        said, was = str(fields.get("said", "")), known.get(content_tag)
        known[role_tag] = str(fields.get("who", ""))
        if isinstance(was, list):  # parts, as OpenAI writes them
            known[content_tag] = was if said == json.dumps(was, ensure_ascii=False) else said
        elif was is not None or said:
            known[content_tag] = said
        made.append(known)
    return made
