"""Which stage, method or quantization cannot go with the other two that are chosen, so that a form can mark it."""

from __future__ import annotations

from collections.abc import Mapping

from studio.config.combinations import refused
from studio.config.faults import Fault
from studio.config.leaves import members
from studio.config.train import TrainConfig

UNIONS = ("stage", "method", "quantization")


def chosen_types(shown: Mapping[str, object]) -> dict[str, str]:
    """The chosen type of each of these unions, from values by leaf key; its default where none is known."""
    found: dict[str, str] = {}
    for name in UNIONS:
        wanted, known = shown.get(f"{name}.type"), members(TrainConfig, name)
        found[name] = str(wanted) if wanted in known else str(TrainConfig.model_fields[name].default.type)
    return found


def refused_members(types: Mapping[str, str]) -> dict[str, dict[str, Fault]]:
    """By the key of each type's field, the members that do not go with the other two types, with the reason.

    A reason that holds for every member is none of this union's: the other two do not go with each other.
    """
    return {f"{name}.type": _of(name, types) for name in UNIONS}


def _of(name: str, types: Mapping[str, str]) -> dict[str, Fault]:
    others = {one: members(TrainConfig, one)[types[one]].model_construct() for one in UNIONS}
    faults = {
        tag: list(refused(**{**others, name: member.model_construct()}))
        for tag, member in members(TrainConfig, name).items()
    }
    everywhere = set[tuple[str, str]].intersection(*({(one.path, one.code) for one in own} for own in faults.values()))
    own = {tag: [one for one in found if (one.path, one.code) not in everywhere] for tag, found in faults.items()}
    return {tag: found[0] for tag, found in own.items() if found}
