"""Which modules a method attaches to: a list of plain names, or one regular expression in place of them."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9_.\-]+")


def is_pattern(name: str) -> bool:
    """Whether an entry is a regular expression: it holds a letter that no name of a module has, such as * or [."""
    return _PLAIN.fullmatch(name) is None


def chosen_targets(names: str | list[str]) -> str | list[str]:
    """What peft takes: "all-linear", names that match the ends of modules' names, or one expression for whole names."""
    if isinstance(names, list) and len(names) == 1 and is_pattern(names[0]):
        return names[0]
    return names


def pattern_fault(names: str | list[str]) -> tuple[str, str] | None:
    """An expression that cannot be used, and why: it is not alone, or no expression at all. None when all is well."""
    if isinstance(names, str):
        return None
    for name in filter(is_pattern, names):
        if len(names) > 1:
            return name, "alone"
        try:
            re.compile(name)
        except re.error as error:
            return name, str(error)
    return None
