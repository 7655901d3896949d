"""Texts by language: English from the schema and locales/en.yaml, every other language from one file of its own.

A key is a field path (`fields.<key>.label`), a fault code (`faults.at_least`) or a place on the page
(`page.runs.stop`). Every language has the same keys, which a test holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from studio.config.faults import MESSAGES
from studio.config.kinds import all_groups, all_leaves
from studio.runs.diagnosis import MESSAGES as FINDINGS

LOCALES = Path(__file__).parent / "locales"
ENGLISH = "en"


def languages() -> tuple[str, ...]:
    """The languages that have a file, English first."""
    names = sorted(path.stem for path in LOCALES.glob("*.yaml"))
    return (ENGLISH, *(name for name in names if name != ENGLISH))


def known(language: str | None) -> str:
    """`language` if there is a file for it, else English."""
    return language if language in languages() else ENGLISH


@lru_cache(maxsize=32)
def words(language: str) -> Mapping[str, str]:
    """Every text of one language by its flat key."""
    own = _flat(yaml.safe_load((LOCALES / f"{known(language)}.yaml").read_text(encoding="utf-8")))
    return {**_schema_words(), **own} if known(language) == ENGLISH else own


def say(language: str, key: str, **values: Any) -> str:
    """One text with its values filled in, in English where the language lacks it. Raises KeyError for no text."""
    text = words(language).get(key) or words(ENGLISH)[key]
    return text.format(**values) if values else text


def fault_messages(language: str) -> dict[str, str]:
    """The sentences of faults by code."""
    own = words(language)
    return {code: own.get(f"faults.{code}", text) for code, text in MESSAGES.items()}


def finding_messages(language: str) -> dict[str, str]:
    """The sentences of what a run's numbers say, by code."""
    own = words(language)
    return {code: own.get(f"findings.{code}", text) for code, text in FINDINGS.items()}


@lru_cache(maxsize=1)
def _schema_words() -> dict[str, str]:
    found: dict[str, str] = {f"faults.{code}": text for code, text in MESSAGES.items()}
    found |= {f"findings.{code}": text for code, text in FINDINGS.items()}
    for group in all_groups().values():
        found[f"sections.{group.name}"] = group.title
    for leaf in all_leaves().values():
        found[f"fields.{leaf.key}.label"] = leaf.title
        found[f"fields.{leaf.key}.info"] = leaf.description
        if leaf.kind == "type":
            for option, text, about in zip(leaf.options, leaf.option_labels, leaf.option_abouts, strict=True):
                found[f"fields.{leaf.key}.options.{option}"] = text
                found[f"fields.{leaf.key}.about.{option}"] = about
    return found


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{path}."))
        else:
            found[path] = str(value)
    return found
