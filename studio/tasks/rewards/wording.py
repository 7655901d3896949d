"""Rewards for the wording of an answer: its length, repetitions, words to avoid, the script that it is written in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from studio.tasks.rewards.attempt import Attempt

# How Unicode names the letters of each script; kana is written in two.
_SCRIPTS = {
    "latin": ("LATIN",),
    "cyrillic": ("CYRILLIC",),
    "greek": ("GREEK",),
    "han": ("CJK",),
    "kana": ("HIRAGANA", "KATAKANA"),
    "hangul": ("HANGUL",),
    "arabic": ("ARABIC",),
    "hebrew": ("HEBREW",),
    "devanagari": ("DEVANAGARI",),
}


def answer_length(attempt: Attempt, *, target: int | None = None, at_most: int = 100, unit: str = "tokens") -> float:
    """1 at the target (or up to `at_most`), falling in a straight line to 0 at twice as much, and at nothing."""
    length = {"tokens": attempt.tokens, "words": len(attempt.text.split()), "characters": len(attempt.text)}[unit]
    if target is not None:
        return max(0.0, 1 - abs(length - target) / target)
    return min(1.0, max(0.0, 2 - length / at_most)) if length else 0.0


def repetition(attempt: Attempt, *, words: int = 3) -> float:
    """0 when no sequence of so many words comes twice, down to -1: the share of those that came before."""
    said = attempt.text.casefold().split()
    runs = [tuple(said[start : start + words]) for start in range(len(said) - words + 1)]
    return len(set(runs)) / len(runs) - 1 if runs else 0.0


def forbidden_words(attempt: Attempt, *, words: Sequence[str], ignore_case: bool = True) -> float:
    """-1 when one of the words stands in the answer, else 0."""
    pattern = "|".join(re.escape(word) for word in words)
    found = re.search(rf"(?<!\w)(?:{pattern})(?!\w)", attempt.text, re.IGNORECASE if ignore_case else 0)
    return -1.0 if found else 0.0


def script(attempt: Attempt, *, script: str = "latin") -> float | None:
    """The share of the answer's letters that belong to the script; None for an answer without letters."""
    letters = [letter for letter in attempt.text if letter.isalpha()]
    return sum(_belongs(letter, script) for letter in letters) / len(letters) if letters else None


@lru_cache(maxsize=4096)
def _belongs(letter: str, script: str) -> bool:
    return unicodedata.name(letter, "").startswith(_SCRIPTS[script])
