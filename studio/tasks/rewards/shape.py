"""Rewards for the shape of an answer: a pattern, JSON, a thought before the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from studio.tasks.rewards.attempt import Attempt

FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n\s*```", re.DOTALL)

HALF = 0.5  # JSON that is valid and not as asked: a step on the way that can be learnt first

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def regex(attempt: Attempt, *, pattern: str, whole: bool = False, ignore_case: bool = False) -> float:
    """1 when the pattern is found in the answer, or fits all of it, else 0."""
    flags = re.IGNORECASE if ignore_case else 0
    found = re.fullmatch(pattern, attempt.text.strip(), flags) if whole else re.search(pattern, attempt.text, flags)
    return float(found is not None)


def json_answer(
    attempt: Attempt,
    *,
    keys: Sequence[str] | None = None,
    schema: Mapping[str, Any] | None = None,
    fenced: bool = True,
) -> float:
    """0 for what is no JSON, 0.5 for JSON without the keys or against the schema, else 1."""
    text = attempt.spoken
    fence = FENCE.search(text) if fenced else None
    try:
        value = json.loads(fence[1] if fence else text)
    except (ValueError, RecursionError):
        return 0.0
    if keys and not (isinstance(value, dict) and all(key in value for key in keys)):
        return HALF
    return 1.0 if schema is None or follows(value, schema) else HALF


def follows(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value keeps to the part of JSON Schema that is looked at: type, enum, required, properties, items."""
    names = schema.get("type")
    wanted = [names] if isinstance(names, str) else names or []
    if wanted and not any(_TYPES.get(name, lambda _: True)(value) for name in wanted):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, dict):
        inner: Mapping[str, Any] = schema.get("properties", {})
        present = all(key in value for key in schema.get("required", ()))
        return present and all(follows(value[key], part) for key, part in inner.items() if key in value)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return all(follows(item, schema["items"]) for item in value)
    return True


def thinking_format(
    attempt: Attempt, *, opening: str = "<think>", closing: str = "</think>", opened: bool = False
) -> float:
    """1 when one thought comes first, closed once, with something in it and something behind it; else 0."""
    text = attempt.text.strip()
    if not opened:
        if not text.startswith(opening):
            return 0.0
        text = text.removeprefix(opening)
    thought, sign, answer = text.partition(closing)
    again = opening in thought or opening in answer or closing in answer
    return float(bool(sign and thought.strip() and answer.strip()) and not again)
