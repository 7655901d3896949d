"""Scores of an answer's form: whether it is JSON, and whether it holds what a pattern asks for."""

from __future__ import annotations

import json
import re

_FENCE = re.compile(r"\A\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


def json_valid(answer: str) -> float:
    """100 when the answer is a JSON object or list, also in a code block of its own, else 0."""
    fenced = _FENCE.match(answer)
    try:
        value = json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError):
        return 0.0
    return 100.0 if isinstance(value, dict | list) else 0.0


def regex(answer: str, reference: str, pattern: re.Pattern[str]) -> float:
    """100 when the answer holds a match; with a group in `pattern`, when its last match's first group says the same as
    the reference's."""
    found = list(pattern.finditer(answer))
    if not found or not pattern.groups:
        return 100.0 if found else 0.0
    wanted = list(pattern.finditer(reference))
    return 100.0 if wanted and found[-1][1] == wanted[-1][1] else 0.0
