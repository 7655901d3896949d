"""Config files and commands: text to config with every fault at once, and config to text that means the same."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from typing_extensions import TypeVar

from studio.config.faults import ConfigError, Fault
from studio.config.jobs import JobConfig
from studio.config.kinds import KINDS, kind_of
from studio.config.leaves import Leaf, applies, leaves, value_at
from studio.config.rules import examine
from studio.config.train import TrainConfig
from studio.config.wording import fault_of

Tree = dict[str, Any]
Config = TypeVar("Config", bound=JobConfig, default=TrainConfig)


def load_config(
    path: Path,
    overrides: Sequence[str] = (),
    schema: type[Config] = TrainConfig,  # pyright: ignore[reportArgumentType]
) -> Config:
    """The config in the YAML file at `path` with `overrides` on top; of a training run unless `schema` says otherwise.

    Raises ConfigError with every fault, FileNotFoundError when there is no such file.
    """
    return parse(override(read_yaml(path.read_text(encoding="utf-8")), overrides), schema)


def read_yaml(text: str) -> Tree:
    """The mapping that a YAML text holds; an empty text is an empty mapping. Raises ConfigError."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError([Fault("", "not_yaml", details={"reason": reason})]) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError([Fault("", "not_mapping", details={"kind": type(value).__name__})])
    return {str(key): inner for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def override(tree: Mapping[str, Any], assignments: Iterable[str]) -> Tree:
    """`tree` with each `section.field=value` put in; a value is read as YAML. Raises ConfigError."""
    result = json.loads(json.dumps(tree, default=str))
    faults: list[Fault] = []
    for assignment in assignments:
        path, sign, text = assignment.partition("=")
        parts = path.strip().split(".")
        if not sign or not all(parts):
            faults.append(Fault("", "bad_override", assignment))
            continue
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            faults.append(Fault(path, "not_yaml", details={"reason": " ".join(str(error).split())}))
            continue
        _place(result, parts, value)
    if faults:
        raise ConfigError(faults)
    return result


def _place(tree: Tree, parts: list[str], value: Any) -> None:
    for part in parts[:-1]:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    tree[parts[-1]] = value


def parse(
    tree: Mapping[str, Any],
    schema: type[Config] = TrainConfig,  # pyright: ignore[reportArgumentType]
) -> Config:
    """The config that `tree` means. Raises ConfigError with every fault: of shape first, then of the rules."""
    try:
        config = schema.model_validate(dict(tree))
    except ValidationError as error:
        raise ConfigError([fault_of(item, schema) for item in error.errors()]) from None
    faults = [found for found in examine(config) if found.severity == "fault"]
    if faults:
        raise ConfigError(faults)
    return config


def check(
    tree: Mapping[str, Any],
    schema: type[Config] = TrainConfig,  # pyright: ignore[reportArgumentType]
) -> tuple[Config | None, list[Fault]]:
    """The config if it has the right shape, and every fault and hint about it. Never raises for a bad config."""
    try:
        config = schema.model_validate(dict(tree))
    except ValidationError as error:
        return None, [fault_of(item, schema) for item in error.errors()]
    return config, list(examine(config))


def dump(config: BaseModel) -> str:
    """The whole config as YAML, defaults written out, so that a later default cannot change an old run."""
    tree = config.model_dump(mode="json")
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120)


def overrides_of(config: BaseModel) -> list[str]:
    """The assignments that differ from the defaults: `parse(override({}, overrides_of(config))) == config`."""
    return [
        f"{leaf.path}={spell(value_at(config, leaf))}"
        for leaf in leaves(type(config))
        if applies(config, leaf) and differs(config, leaf)
    ]


def differs(config: BaseModel, leaf: Leaf) -> bool:
    """Whether the config holds something else than the default of `leaf`."""
    return leaf.required or value_at(config, leaf) != leaf.default


def spell(value: Any) -> str:
    """A value as one line of YAML that reads back as the same value."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")


def command_of(config: JobConfig) -> list[str]:
    """The command line that starts this job from a terminal, word by word."""
    return ["studio", *KINDS[kind_of(config)].command, *overrides_of(config)]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The most similar of the known words, or None when none is similar."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)
