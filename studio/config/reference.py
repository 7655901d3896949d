"""The schema as a page: what `studio settings` prints and docs/settings.md holds."""

from __future__ import annotations

from collections.abc import Iterator

from studio.config.combination_tables import tables
from studio.config.kinds import KINDS, all_groups, all_leaves
from studio.config.leaves import Leaf, groups

_TYPES = {
    "type": "one of",
    "select": "one of",
    "flag": "true or false",
    "integer": "whole number",
    "number": "number",
    "text": "text",
    "list": "list",
    "mapping": "mapping",
}


def _range(leaf: Leaf) -> str:
    """The allowed values in words."""
    if leaf.options and leaf.kind in ("type", "select"):
        return ", ".join(leaf.options)
    words = _TYPES[leaf.kind]
    if leaf.at_least is not None and leaf.at_most is not None:
        words += f", {leaf.at_least:g} to {leaf.at_most:g}"
    elif leaf.at_least is not None:
        words += f" from {leaf.at_least:g}"
    return words + (" or empty" if leaf.optional else "")


def _default(leaf: Leaf) -> str:
    if leaf.required:
        return "needed"
    if leaf.default is None:
        return "empty"
    if isinstance(leaf.default, bool):
        return str(leaf.default).lower()
    return f"{leaf.default}" if leaf.default not in ([], {}) else "empty"


def _row(leaf: Leaf) -> str:
    only = f" Only with {leaf.section}.type={leaf.variant}." if leaf.variant else ""
    cells = (f"`{leaf.path}`", f"{leaf.description}{only}", _range(leaf), _default(leaf))
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _table(found: list[Leaf]) -> Iterator[str]:
    yield "| setting | what it does | values | default |"
    yield "|---|---|---|---|"
    yield from map(_row, found)


def settings_page(section: str | None = None) -> str:
    """Every setting of every kind of job as Markdown tables, or those of one section.

    Raises KeyError when there is no such section.
    """
    sections, settings = all_groups(), list(all_leaves().values())
    if section is not None and section not in sections:
        raise KeyError(section)
    lines: list[str] = []
    if section is None:
        lines += [
            "# Settings",
            "",
            "Made by `studio settings` from the schema in studio/config; not written by hand.",
            "",
        ]
        lines += ["## The run", "", *_table([leaf for leaf in settings if not leaf.section]), ""]
    for name, group in sections.items():
        if section in (None, name):
            users = [kind for kind, one in KINDS.items() if name in {own.name for own in groups(one.config)}]
            lines += [f"## {name}", "", group.description, "", f"For: {', '.join(users)}.", ""]
            lines += [*_table([leaf for leaf in settings if leaf.section == name]), ""]
    if section is None:
        lines += ["## What goes together", "", *tables(), ""]
    return "\n".join(lines).rstrip() + "\n"
