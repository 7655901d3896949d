"""Rewards that compare with the row's own answer: what its result is, and whether two results are the same."""

from __future__ import annotations

import math
import re

from studio.tasks.rewards.attempt import Attempt, spoken

# 1,234.5 with its separators, or a plain number; a sign only where it is no minus between two things.
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|(?<![\w.])[-+]?\.\d+")
_BOXED = "\\boxed{"
_AROUND = " \t\n.,;:!?\"'`*_()[]{}$"


def exact_answer(
    attempt: Attempt,
    *,
    extract: str = "auto",
    marker: str = "####",
    ignore_case: bool = True,
    tolerance: float = 1e-6,
) -> float | None:
    """1 when the result of the answer is that of the row's own answer, else 0; None for a row without one."""
    if attempt.reference is None:
        return None
    wanted, way = result_of(spoken(attempt.reference), extract, marker)
    found = _matching(attempt.spoken, wanted, way, marker)
    return float(found is not None and same(found, wanted, ignore_case, tolerance))


def contains_answer(
    attempt: Attempt, *, extract: str = "auto", marker: str = "####", ignore_case: bool = True
) -> float | None:
    """1 when the result of the row's own answer stands in the answer as a whole word, else 0; None for a row without
    one."""
    if attempt.reference is None:
        return None
    wanted = _plain(result_of(spoken(attempt.reference), extract, marker)[0], ignore_case)
    text = " ".join(attempt.spoken.split())
    text = text.casefold() if ignore_case else text
    return float(re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", text) is not None) if wanted else 0.0


def result_of(text: str, extract: str, marker: str) -> tuple[str, str]:
    """The result in a text and the way in which it was found: boxed, marker, number or whole.

    `auto` takes the first way that finds something; a way that finds nothing leaves the whole text.
    """
    ways = ("boxed", "marker", "number") if extract == "auto" else (extract,)
    for way in ways:
        found = _FINDS[way](text, marker)
        if found is not None:
            return found, way
    return text.strip(), "whole"


def same(found: str, wanted: str, ignore_case: bool, tolerance: float) -> bool:
    """Whether two results say the same: as numbers where both are, else letter by letter, without the signs around."""
    numbers = (_as_number(found), _as_number(wanted))
    if None not in numbers:
        return math.isclose(numbers[0] or 0.0, numbers[1] or 0.0, rel_tol=tolerance, abs_tol=tolerance)
    return _plain(found, ignore_case) == _plain(wanted, ignore_case)


def last_number(text: str, marker: str = "") -> str | None:
    """The last number in a text, None without one."""
    found = _NUMBER.findall(text)
    return found[-1] if found else None


def boxed(text: str, marker: str = "") -> str | None:
    """What stands in the last \\boxed{}, braces within it kept; None without one that is closed."""
    start = text.rfind(_BOXED)
    depth = 0
    for place in range(start + len(_BOXED) - 1, len(text)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + len(_BOXED) : place].strip()
    return None


def behind(text: str, marker: str) -> str | None:
    """What follows the last marker on its line, None without a marker or with nothing behind it."""
    _, sign, rest = text.rpartition(marker)
    return (rest.strip().split("\n")[0].strip() or None) if sign else None


def _matching(text: str, wanted: str, way: str, marker: str) -> str | None:
    """The result of an answer. It must be marked as the row's is; a number may be the last of a marked result too."""
    if way == "whole":
        return text
    if way == "number":
        return result_of(text, "auto", marker)[0] if _as_number(wanted) is not None else last_number(text)
    found = _FINDS[way](text, marker)
    # The mark is how the data is written; an answer that ends with the right number has the result too.
    return found if found is not None else last_number(text) if _as_number(wanted) is not None else None


def _as_number(text: str) -> float | None:
    try:
        return float(text.strip(_AROUND.replace(".", "").replace("-", "")).rstrip(".").replace(",", ""))
    except ValueError:
        return None


def _plain(text: str, ignore_case: bool) -> str:
    """One space between words, none of the signs around them."""
    words = " ".join(text.split()).strip(_AROUND)
    return words.casefold() if ignore_case else words


_FINDS = {"boxed": boxed, "marker": behind, "number": last_number, "whole": lambda text, marker: text.strip()}
