"""The base of every section of a config, and the two marks that a field can carry for a form.

A setting is written once: a field with its bounds and, under it, one sentence. Command line, form, YAML, fault
messages, documentation and the keys of every translation are derived from that field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings: unknown keys are refused, values are frozen, the text under a field is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )


@dataclass(frozen=True)
class Advanced:
    """Mark of a field that a form folds away, because its default serves most people."""


@dataclass(frozen=True)
class Choices:
    """Mark of a field whose possible values are looked up by a named provider when a form is drawn.

    `free` says whether a value outside the list is allowed (a path, say).
    """

    provider: str
    free: bool = True


def with_default_type(default: str) -> Callable[[Any], Any]:
    """A validator that puts `type: default` into a mapping that names no type, so that a union has a default member."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict) and "type" not in value:
            return {"type": default, **cast("dict[str, Any]", value)}
        return cast("Any", value)

    return fill


def on_or_off(value: Any) -> Any:
    """YAML reads the words on and off as true and false; where a setting takes the words, they are put back."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value
