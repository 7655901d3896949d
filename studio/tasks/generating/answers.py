"""From the JSON of an answer to rows: what is there under any name that models give it, or what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.data.examples import DataError
from studio.data.generated import WrittenRow
from studio.tasks.generating.repair import Found, NoJson, find_json

_QUESTION = ("question", "instruction", "prompt", "task", "query", "user")
_ANSWER = ("answer", "output", "response", "completion", "assistant")
_CHOSEN = ("chosen", "good", "better", "preferred")
_REJECTED = ("rejected", "bad", "worse")
_TURNS = ("turns", "messages", "conversation", "conversations", "dialogue", "dialog")
_ROLE = ("role", "from", "speaker")
_ROLES = {"user": "user", "human": "user", "person": "user", "assistant": "assistant", "gpt": "assistant",
          "bot": "assistant", "model": "assistant"}  # fmt: skip


class Unusable(ValueError):
    """No row can be taken from an answer; the message tells the model what was wrong with it."""


@dataclass(frozen=True)
class Answer:
    """The rows of one answer, and how many more it held that lack something."""

    rows: tuple[WrittenRow, ...]
    broken: int


def rows_of(text: str, target: str) -> Answer:
    """The rows of kind `target` (question_answer, dialogue or preference) that an answer holds.

    Raises Unusable when there is none.
    """
    try:
        found = find_json(text)
    except NoJson as error:
        raise Unusable(str(error)) from None
    rows, faults = list[WrittenRow](), list[str]()
    for value in _entries(found.value):
        try:
            rows.append(_MAKERS[target](value))
        except DataError as error:
            faults.append(str(error))
    if not rows:
        raise Unusable(_reason(found, faults))
    return Answer(tuple(rows), len(faults))


def _reason(found: Found, faults: list[str]) -> str:
    if found.cut:
        return "The JSON ends before its first row is complete. Write fewer or shorter rows."
    return f"No row can be used: {faults[0]}" if faults else "The JSON holds no rows."


def _entries(value: Any) -> list[Mapping[str, Any]]:
    """The objects that may be rows: those of a list, of the one list in an object, or the object itself."""
    if isinstance(value, dict) and not _is_row(value):
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        value = value.get("rows", lists[0] if lists else [])
    if isinstance(value, dict):
        value = [value]
    # A dialogue is a list of turns itself: one that comes alone, or as a list of lists.
    if _are_turns(value):
        value = [value]
    return [entry if isinstance(entry, dict) else {"turns": entry} for entry in value]


def _is_row(value: Mapping[str, Any]) -> bool:
    named = any(name in value for name in (*_QUESTION, *_CHOSEN))
    return named or any(_are_turns(value.get(name)) for name in _TURNS)


def _are_turns(value: Any) -> bool:
    spoken = isinstance(value, list) and all(isinstance(turn, dict) and _first(turn, _ROLE) for turn in value)
    return spoken and len(value) > 0


def _first(value: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _needed(value: Mapping[str, Any], names: tuple[str, ...]) -> str:
    found = _first(value, names)
    if isinstance(found, str) and found.strip():
        return found
    raise DataError(f"a row has no text under {names[0]!r}.", "missing")


def _turn(role: str, words: str) -> dict[str, str]:
    return {"role": role, "content": words}


def _question_answer(value: Mapping[str, Any]) -> WrittenRow:
    question, answer = _needed(value, _QUESTION), _needed(value, _ANSWER)
    return WrittenRow.read({"messages": [_turn("user", question), _turn("assistant", answer)]})


def _dialogue(value: Mapping[str, Any]) -> WrittenRow:
    turns = _first(value, _TURNS)
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise DataError("a row has no list of objects under 'turns'.", "missing")
    messages: list[dict[str, str]] = []
    for turn in turns:
        role = _first(turn, _ROLE)
        messages.append(_turn(_ROLES.get(str(role).lower(), str(role)), _needed(turn, ("content", "value", "text"))))
    return WrittenRow.read({"messages": messages})


def _preference(value: Mapping[str, Any]) -> WrittenRow:
    chosen, rejected = _needed(value, _CHOSEN), _needed(value, _REJECTED)
    messages = [_turn("user", _needed(value, _QUESTION))]
    return WrittenRow.read({"messages": messages, "chosen": chosen, "rejected": rejected})


_MAKERS: Mapping[str, Callable[[Mapping[str, Any]], WrittenRow]] = {
    "question_answer": _question_answer,
    "dialogue": _dialogue,
    "preference": _preference,
}
