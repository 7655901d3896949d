"""The schema as plain data, for a form that a script of the page draws, and what such a form shows as a config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from studio.config.faults import Fault
from studio.config.io import check
from studio.config.jobs import JobConfig
from studio.config.leaves import Group, Leaf, groups, leaves
from studio.web.providers import Provider
from studio.web.shown_values import collect, placeholder, to_shown
from studio.web.words import fault_messages, say


def described(schema: type[JobConfig], providers: Mapping[str, Provider], language: str) -> dict[str, Any]:
    """Sections with their fields in the order of the schema, and the value that each field shows at first, by key.

    Settings that stand alone come first, in a section without a name.
    """
    every = leaves(schema)
    return {
        "sections": [_section(None, every, providers, language)]
        + [_section(group, every, providers, language) for group in groups(schema)],
        "values": {leaf.key: to_shown(leaf, leaf.default) for leaf in every},
    }


def judged(schema: type[JobConfig], shown: Mapping[str, Any]) -> tuple[JobConfig | None, list[Fault]]:
    """The config that the fields show, if it has the right shape, and every fault and hint about it."""
    return check(collect(schema, shown), schema)


def by_field(
    schema: type[JobConfig], shown: Mapping[str, Any], faults: Iterable[Fault], language: str
) -> tuple[dict[str, dict[str, str]], list[dict[str, str]]]:
    """The first fault of each field by its key, and what belongs to no field; each with `text` and `severity`."""
    messages, found, others = fault_messages(language), dict[str, dict[str, str]](), list[dict[str, str]]()
    for fault in faults:
        said = {"severity": fault.severity, "code": fault.code, "text": fault.sentence(messages)}
        key = key_of(schema, shown, fault.path)
        if key is None:
            others.append({**said, "text": f"{fault.path} {said['text']}".strip()})
        else:
            found.setdefault(key, said)
    return found, others


def key_of(schema: type[JobConfig], shown: Mapping[str, Any], path: str) -> str | None:
    """The key of the field that a fault's path means; of members of a union that share it, the chosen one's."""
    bare = path.partition("[")[0]
    for leaf in leaves(schema):
        if leaf.path == bare and leaf.variant in (None, shown.get(f"{leaf.section}.type")):
            return leaf.key
    return None


def _section(
    group: Group | None, every: Iterable[Leaf], providers: Mapping[str, Provider], language: str
) -> dict[str, Any]:
    name = group.name if group else ""
    own = [leaf for leaf in every if leaf.section == name]
    return {
        "name": name,
        "title": say(language, f"sections.{name}") if group else "",
        "folded": bool(group) and all(leaf.advanced for leaf in own),
        "fields": [_field(leaf, providers, language) for leaf in own],
    }


def _field(leaf: Leaf, providers: Mapping[str, Provider], language: str) -> dict[str, Any]:
    labels = [
        say(language, f"fields.{leaf.key}.options.{option}") if leaf.kind == "type" else label
        for option, label in zip(leaf.options, leaf.option_labels, strict=True)
    ]
    choices = [*((word, word) for word in leaf.alone), *zip(labels, leaf.options, strict=True)]
    if leaf.choices is not None:
        found = [
            (choice, choice) if isinstance(choice, str) else choice for choice in providers[leaf.choices.provider]()
        ]
        choices += [choice for choice in found if choice not in choices]
    return {
        "key": leaf.key,
        "kind": leaf.kind,
        "variant": leaf.variant,
        "label": say(language, f"fields.{leaf.key}.label"),
        "info": say(language, f"fields.{leaf.key}.info"),
        "advanced": leaf.advanced,
        "optional": leaf.optional,
        "choices": [{"label": label, "value": value} for label, value in choices],
        "abouts": {option: say(language, f"fields.{leaf.key}.about.{option}") for option in leaf.options}
        if leaf.kind == "type"
        else {},
        "provider": leaf.choices.provider if leaf.choices is not None else "",
        "free": leaf.choices.free if leaf.choices is not None else not leaf.options,
        "long": isinstance(leaf.default, str) and "\n" in leaf.default,
        "placeholder": placeholder(leaf),
    }
