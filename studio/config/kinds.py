"""The kinds of job: the config of each, and the command that starts it from a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from studio.config.devices import NO_DEVICE, DevicesConfig
from studio.config.evaluate import EvaluateConfig
from studio.config.export import ExportConfig
from studio.config.generate import GenerateConfig
from studio.config.jobs import JobConfig
from studio.config.leaves import Group, Leaf, groups, leaves
from studio.config.probe import ProbeConfig
from studio.config.serve import ServeConfig
from studio.config.train import TrainConfig


@dataclass(frozen=True)
class Kind:
    """One kind of job. `command` are the words behind `studio`."""

    config: type[JobConfig]
    command: tuple[str, ...]


KINDS: Mapping[str, Kind] = {
    "serve": Kind(ServeConfig, ("serve",)),
    "train": Kind(TrainConfig, ("train",)),
    "probe": Kind(ProbeConfig, ("probe",)),
    "generate": Kind(GenerateConfig, ("data", "generate")),
    "evaluate": Kind(EvaluateConfig, ("evaluate",)),
    "export": Kind(ExportConfig, ("export",)),
}


def kind_of(config: JobConfig) -> str:
    """The name of the kind that a config belongs to. Raises KeyError for a class that is no kind's."""
    for name, kind in KINDS.items():
        if type(config) is kind.config:
            return name
    raise KeyError(type(config).__name__)


def devices_wanted(config: JobConfig) -> str:
    """The devices that a job asks for: auto, cpu, cuda:0 …, or none where it computes on nothing of its own."""
    section = getattr(config, "devices", None)
    return section.use if isinstance(section, DevicesConfig) else NO_DEVICE


def all_leaves() -> dict[str, Leaf]:
    """Every setting of every kind by its key. A key means the same setting in all of them, which a test holds."""
    return {leaf.key: leaf for kind in KINDS.values() for leaf in leaves(kind.config)}


def all_groups() -> dict[str, Group]:
    """Every section of every kind by its name."""
    return {group.name: group for kind in KINDS.values() for group in groups(kind.config)}
