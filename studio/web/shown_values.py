"""Settings as a form shows them and as a config holds them: the way there and back, by walking the schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from studio.config.io import spell
from studio.config.leaves import Leaf, groups, leaves, value_at


def placeholder(leaf: Leaf) -> str:
    """What an empty box means: the default, or nothing at all."""
    if leaf.required or leaf.optional:
        return ""
    return to_shown(leaf, leaf.default) if leaf.kind in ("integer", "number", "text") else ""


def to_shown(leaf: Leaf, value: Any) -> Any:
    """A value of the schema as its field shows it."""
    if leaf.kind in ("type", "flag", "select"):
        return value
    if leaf.kind == "list":
        entries = [value] if isinstance(value, str) else [str(entry) for entry in value or []]
        return entries if leaf.choices is not None or leaf.options else "\n".join(entries)
    if value is None:
        return "" if leaf.choices is None else None
    if leaf.kind == "mapping":
        return spell(value) if value else ""
    return number_text(value) if leaf.kind == "number" else str(value)


def number_text(value: float) -> str:
    """A number in the shortest spelling that reads back as itself: 0.0002 as 2e-4, 3.0 as 3."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if abs(value) >= 1e-3:
        return repr(value)
    mantissa, _, exponent = f"{value:.17e}".partition("e")
    for digits in range(17):
        short = f"{value:.{digits}e}"
        if float(short) == value:
            mantissa, _, exponent = short.partition("e")
            break
    return f"{mantissa}e{int(exponent)}"


def from_shown(leaf: Leaf, shown: Any) -> Any:
    """What a field shows as the value that a YAML file would hold; None when it is left empty."""
    if leaf.kind == "flag":
        return bool(shown)
    if leaf.kind == "list":
        entries = shown if isinstance(shown, list) else [line.strip() for line in (shown or "").splitlines()]
        entries = [entry for entry in entries if entry != ""]
        return entries[0] if len(entries) == 1 and entries[0] in leaf.alone else entries
    if shown is None or (isinstance(shown, str) and not shown.strip()):
        return None
    if leaf.kind == "mapping":
        return _mapping(str(shown))
    return shown.strip() if isinstance(shown, str) else shown


def _mapping(text: str) -> Any:
    """The mapping that the text spells; the text itself when it is not YAML, so that its field gets the fault."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def collect(schema: type[BaseModel], shown: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of a config from what the fields show, by leaf key: only settings of the chosen types."""
    tree: dict[str, Any] = {}
    chosen = {group.name: shown.get(f"{group.name}.type") for group in groups(schema) if group.variants}
    for leaf in leaves(schema):
        if leaf.variant is not None and chosen[leaf.section] != leaf.variant:
            continue
        value = from_shown(leaf, shown.get(leaf.key))
        if value is None and not leaf.optional:
            continue
        (tree.setdefault(leaf.section, {}) if leaf.section else tree)[leaf.name] = value
    return tree


def fill(config: BaseModel) -> dict[str, Any]:
    """What the fields show for `config`, by leaf key: `collect` of it parses to the same config."""
    return {leaf.key: to_shown(leaf, value_at(config, leaf)) for leaf in leaves(type(config))}
