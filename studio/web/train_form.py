"""The form of a training run: what it offers, what it amounts to, and how it is filled and started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from studio.config.faults import ConfigError, Fault
from studio.config.io import check, parse, read_yaml
from studio.config.leaves import leaves, members
from studio.config.offered import chosen_types, refused_members
from studio.config.train import TrainConfig
from studio.data.examples import DataError
from studio.data.listing import list_datasets
from studio.runs.folder import RunFolder
from studio.web.asking import Action, Reply, Request
from studio.web.drawn_form import key_of
from studio.web.form_desk import FormDesk
from studio.web.providers import providers
from studio.web.shown_values import fill
from studio.web.start import Exists
from studio.web.summary import sentence, severity
from studio.web.train_room import TrainRoom, config_of, tree_of, values_of
from studio.web.words import fault_messages, say

DATASETS = "datasets"
"""The provider of choices that depend on what the stage learns from."""


def actions(room: TrainRoom) -> Mapping[str, Action]:
    """The verbs of the form."""
    desk = FormDesk(TrainConfig, room.starter)
    return {
        "draw": lambda request: {**desk.form(request), "shown": first_values(room)},
        "check": lambda request: amount(room, desk, request),
        "start": lambda request: start(room, request),
        "load": load,
        "take": lambda request: take(room, request),
    }


def first_values(room: TrainRoom) -> dict[str, Any]:
    """What a fresh form shows beside the defaults: the first choice of a setting that has none and must be made."""
    offered, found = providers(room.workspace, room.supervisor), dict[str, Any]()
    for leaf in leaves(TrainConfig):
        if leaf.required and leaf.choices is not None:
            first = next(iter(offered[leaf.choices.provider]()), "")
            found[leaf.key] = first[1] if isinstance(first, tuple) else first
    return found


def amount(room: TrainRoom, desk: FormDesk, request: Request) -> Reply:
    """What the form amounts to: faults at their fields and in a list, the sentence, the place, command and file."""
    language, values, look = request["language"], values_of(request), desk.look(request)
    types, messages = chosen_types(values), fault_messages(language)
    config = look.config if isinstance(look.config, TrainConfig) else None
    marked = {
        key: {member: fault.sentence(messages) for member, fault in members.items()}
        for key, members in refused_members(types).items()
    }
    stage = type(config.stage) if config is not None else None
    return {
        **desk.said(look),
        "sentence": sentence(language, config, room.starter.rows(config)) if config is not None else "",
        "notices": _notices(language, values, look.faults),
        "refused": marked,
        "unfit": _unfit(room, types["stage"]),
        "tree": tree_of(request),
        "types": types,
        "online": bool(stage and stage.online),
    }


def _unfit(room: TrainRoom, stage: str) -> dict[str, list[str]]:
    """By the key of each field for datasets, those in which the stage finds no rows to learn from."""
    kinds = getattr(members(TrainConfig, "stage")[stage], "kinds", frozenset[str]())
    try:
        names = [entry.name for entry in list_datasets(room.workspace) if not entry.fits(kinds)]
    except DataError:  # said at the field as soon as a dataset is chosen
        return {}
    every = leaves(TrainConfig)
    asking = [leaf.key for leaf in every if leaf.choices is not None and leaf.choices.provider == DATASETS]
    return dict.fromkeys(asking, names)


def _notices(language: str, values: Mapping[str, Any], faults: Iterable[Fault]) -> list[Reply]:
    """Faults and hints for the summary: what blocks comes first."""
    messages, found = fault_messages(language), list[Reply]()
    for fault in sorted(faults, key=lambda one: one.severity != "fault"):
        key = key_of(TrainConfig, values, fault.path)
        label = say(language, f"fields.{key}.label") if key else fault.path
        found.append({"key": key or "", "label": label, "severity": severity(fault), "code": fault.code,
                      "path": fault.path, "text": fault.sentence(messages)})  # fmt: skip
    return found


def start(room: TrainRoom, request: Request) -> Reply:
    """Queue what the form shows. An existing run becomes a question, never an overwritten folder. Raises RunError."""
    language = request["language"]
    try:
        name = room.starter.start(
            config_of(request), str(request.get("if_exists") or "refuse"), bool(request.get("hold"))
        )
    except ConfigError as error:
        return {"error": _sentences(language, error)}
    except Exists as exists:
        state = say(language, f"page.runs.states.{exists.state}")
        return {"question": say(language, "page.form.exists", name=exists.name, state=state, size=exists.size)}
    return {"name": name}


def load(request: Request) -> Reply:
    """The settings of a YAML file as fields show them. A file with faults changes nothing."""
    language, name = request["language"], str(request.get("name"))
    try:
        return {"shown": fill(parse(read_yaml(str(request.get("text") or ""))))}
    except ConfigError as error:
        return {"error": f"{say(language, 'page.form.bad_yaml_name', name=name)}\n{_sentences(language, error)}"}


def take(room: TrainRoom, request: Request) -> Reply:
    """The settings of a run as fields show them, all but its name."""
    language, name = request["language"], str(request.get("run"))
    try:
        text = RunFolder(room.workspace.resolve(f"saves/{name}")).config_text()
        config, faults = check(read_yaml(text))
        if config is None:
            raise ConfigError(faults)
    except ConfigError as error:
        return {"error": _sentences(language, error)}
    return {
        "shown": fill(config.model_copy(update={"name": None})),
        "message": say(language, "page.form.filled", name=name),
    }


def _sentences(language: str, error: ConfigError) -> str:
    """Every fault on a line of its own."""
    messages = fault_messages(language)
    return "\n".join(f"{fault.path} {fault.sentence(messages)}".strip() for fault in error.faults)
