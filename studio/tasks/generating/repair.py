"""The JSON in what a model says: with prose and fences around it, commas too many or too few, or cut off in the midst.

A parser that reads on where json.loads gives up, but invents no words: a text that was cut off is left out together
with everything that it belonged to directly.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_THOUGHTS = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_SPACE = re.compile(r"(?:\s|//[^\n]*)*")
_BARE = re.compile(r"[^\s,:{}\[\]\"']+")
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d"}
_DEEPEST = 64


class NoJson(ValueError):
    """There is no JSON in the text; the message says what stands there instead."""


class _Cut(Exception):
    """The text ended in the midst of a value."""


@dataclass(frozen=True)
class Found:
    """A value, and whether it was taken from a text that ends too early."""

    value: Any
    cut: bool = False


def find_json(text: str) -> Found:
    """The object or list with the most text in it. Raises NoJson when there is none."""
    said = _THOUGHTS.sub("", text).strip()
    try:
        value = json.loads(said)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict | list):
        return Found(value)
    best, length, place = None, 0, 0
    while (start := _next_opening(said, place)) >= 0:
        parser = _Parser(said, start)
        found = parser.read()
        if found is not None and parser.at - start > length:
            best, length = found, parser.at - start
        place = max(parser.at, start + 1)
    if best is None:
        shown = " ".join(said.split())[:80]
        raise NoJson(f"The answer holds no JSON: it begins with {shown!r}." if shown else "The answer is empty.")
    return best


def _next_opening(text: str, start: int) -> int:
    """The next bracket that begins an object, or a list of objects or lists: prose is full of [notes]."""
    found = re.compile(r"\{|\[\s*[\[{\]]").search(text, start)
    return found.start() if found else -1


class _Parser:
    """Reads one value from `at` on, as far as it makes sense."""

    def __init__(self, text: str, at: int) -> None:
        self.text, self.at, self.cut = text, at, False

    def read(self) -> Found | None:
        """The value, or None when it holds nothing at all."""
        try:
            value = self._value(0)
        except _Cut:
            return None
        except NoJson:
            return None
        return Found(value, self.cut) if value else None

    def _peek(self) -> str:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        if self.at >= len(self.text):
            raise _Cut
        return self.text[self.at]

    def _value(self, depth: int) -> Any:
        sign = self._peek()
        if depth > _DEEPEST:
            raise NoJson("too deep")
        if sign == "{":
            return self._members(depth)
        if sign == "[":
            return self._items(depth)
        return self._string(sign) if sign in _QUOTES else self._bare()

    def _members(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.at += 1
        try:
            while (sign := self._peek()) != "}":
                if sign == ",":
                    self.at += 1
                    continue
                key = self._string(sign) if sign in _QUOTES else str(self._bare())
                if self._peek() != ":":
                    raise NoJson("no colon")
                self.at += 1
                found[key] = self._value(depth + 1)
            self.at += 1
        except _Cut:
            self._note_cut()
        return found

    def _items(self, depth: int) -> list[Any]:
        found: list[Any] = []
        self.at += 1
        try:
            while (sign := self._peek()) != "]":
                if sign == ",":
                    self.at += 1
                elif sign in "}:":
                    break  # the list was never closed
                else:
                    found.append(self._value(depth + 1))
                    if self.cut and isinstance(found[-1], dict | list) and not found[-1]:
                        found.pop()
            else:
                self.at += 1
        except _Cut:
            self._note_cut()
        return found

    def _note_cut(self) -> None:
        self.cut, self.at = True, len(self.text)

    def _string(self, quote: str) -> str:
        """A string; one quote inside it that is not escaped is taken as a part when no border follows it."""
        end, parts = _QUOTES[quote], list[str]()
        self.at += 1
        while self.at < len(self.text):
            sign = self.text[self.at]
            self.at += 1
            if sign == "\\":
                parts.append(self._escape())
            elif sign == end and self._is_border():
                return "".join(parts)
            else:
                parts.append(sign)
        raise _Cut

    def _is_border(self) -> bool:
        """Whether what follows a quote could follow the end of a string."""
        rest = self.text[self.at : self.at + 200].lstrip()
        return not rest or rest[0] in ",:}]" or rest.startswith(('"', "'", "```"))

    def _escape(self) -> str:
        if self.at >= len(self.text):
            raise _Cut
        sign = self.text[self.at]
        self.at += 1
        if sign != "u":
            return _ESCAPES.get(sign, sign)
        found = re.compile(r"[0-9a-fA-F]{4}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?").match(self.text, self.at)
        if not found:
            return "u"
        self.at = found.end()
        units = bytes.fromhex(found.group().replace("\\u", ""))
        return units.decode("utf-16-be", errors="replace")

    def _bare(self) -> Any:
        """A number, true, false, null, or a word that lacks its quotes."""
        found = _BARE.match(self.text, self.at)
        if found is None:
            raise NoJson(f"{self.text[self.at]!r} begins no value")
        self.at = found.end()
        if self.at >= len(self.text):
            raise _Cut
        word = found.group()
        if word in _WORDS:
            return _WORDS[word]
        try:
            return json.loads(word)
        except ValueError:
            return word
