"""The Tokens and Template views: what the page asks of the inspector, and with which settings."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from studio.config.faults import ConfigError
from studio.config.io import Tree, dump, override, read_yaml
from studio.config.leaves import Leaf, value_at
from studio.config.local_paths import outside_faults
from studio.config.token_settings import BASIC, CUTOFF, MODEL, TEMPLATE, chosen_datasets, token_config, token_leaves
from studio.config.train import TrainConfig
from studio.data.examples import DataError
from studio.runs.inspector import Asked, Inspector, InspectorError, inspector_of
from studio.web.data_room import Action, DataRoom, Reply, Request, named, number
from studio.web.providers import Provider, providers
from studio.web.words import fault_messages, say

POLL_SECONDS = 0.25  # how long an answer may wait for news
MOST_RUNS = 50


def actions(room: DataRoom) -> dict[str, Action]:
    """Everything that the two views ask for."""
    views = TokenViews(room, inspector_of(room.workspace), providers(room.workspace, room.supervisor))
    table: dict[str, Callable[[Request], Reply]] = {
        "settings": views.settings,
        "row": views.row,
        "packed": views.packed,
        "known": views.known,
        "scan": views.scan,
        "poll": views.poll,
        "cancel": views.cancel,
        "render": views.render,
        "check": views.check,
    }
    return {f"tokens.{name}": _explained(action) for name, action in table.items()}


def _explained(action: Action) -> Action:
    """The same, with the faults of a config as one text in the page's language."""

    def answer(request: Request) -> Reply:
        try:
            return action(request)
        except ConfigError as error:
            return {"error": _sentences(request["language"], error)}

    return answer


def _sentences(language: str, error: ConfigError) -> str:
    messages = fault_messages(language)
    return "\n".join(f"{fault.path} {fault.sentence(messages)}".strip() for fault in error.faults)


@dataclass(frozen=True)
class TokenViews:
    """Answers the page. A request brings its settings: `base` (form or a run's name), `command` (as the form
    shows it), `changes` by path."""

    room: DataRoom
    inspector: Inspector
    providers: Mapping[str, Provider]

    def settings(self, request: Request) -> Reply:
        """The settings that decide what the model sees, as fields to draw, and the runs whose settings can be had.

        With changes that are refused the fields show what they are based on, and `error` says why.
        """
        refused: Reply = {}
        try:
            config = self._config(request)
        except ConfigError as error:
            refused = {"error": _sentences(request["language"], error)}
            config = self._config({**request, "changes": {}})
        runs = [job.name for job in self.room.supervisor.jobs() if job.kind in ("train", "")]
        return {
            "fields": [self._field(request["language"], config, leaf) for leaf in token_leaves(config)],
            "cutoff": CUTOFF,
            "runs": sorted(runs)[-MOST_RUNS:],
            "datasets": chosen_datasets(config),
            **refused,
        }

    def row(self, request: Request) -> Reply:
        """One row of the dataset as the model sees it; `place` from 0."""
        body = self._body(request)
        return self.inspector.ask("tokens.rows", {**body, "places": [number(request, "place", 0)]})

    def packed(self, request: Request) -> Reply:
        """The rows of one packed row; `index` from 0. Without a count of the dataset there are none yet."""
        body = self._body(request)
        report = self.inspector.ask("tokens.known", {**body, "packed": number(request, "index", 0)})["report"]
        places: list[int] = report["group"] if report else []
        return self.inspector.ask("tokens.rows", {**body, "places": places})

    def known(self, request: Request) -> Reply:
        """What a cutoff makes of a dataset that was counted before."""
        return self.inspector.ask("tokens.known", self._body(request))

    def scan(self, request: Request) -> Reply:
        """Begin to count a dataset's tokens; `poll` tells how far it is."""
        return self._news(self.inspector.begin("tokens.scan", self._body(request)))

    def poll(self, request: Request) -> Reply:
        """How far a question is, or its answer."""
        asked = self.inspector.find(number(request, "ticket", 0))
        asked.ended.wait(POLL_SECONDS)
        return self._news(asked)

    def cancel(self, request: Request) -> Reply:
        """Give a question up."""
        self.inspector.cancel(number(request, "ticket", 0))
        return {}

    def render(self, request: Request) -> Reply:
        """Typed turns through the template."""
        given = request.get("messages")
        turns = cast("list[Any]", given) if isinstance(given, list) else []
        if not turns or not all(_is_turn(turn) for turn in turns):
            raise DataError(say(request["language"], "page.data.tokens.type_something"))
        body: dict[str, Any] = {
            "messages": turns,
            "tools": str(request.get("tools") or ""),
            "prompt": bool(request.get("prompt")),
        }
        return self.inspector.ask("template.render", {**self._body(request, dataset=False), **body})

    def check(self, request: Request) -> Reply:
        """The template's marks and what is odd about it, in sentences."""
        reply = self.inspector.ask("template.check", self._body(request, dataset=False))
        for finding in reply["findings"]:
            key = f"page.data.tokens.findings.{finding['code']}"
            finding["text"] = say(request["language"], key, **finding["values"])
        return reply

    def _news(self, asked: Asked) -> Reply:
        if not asked.ended.is_set():
            return {"ticket": asked.ticket, "done": asked.done, "total": asked.total}
        try:
            return {"ended": True, **asked.result()}
        except InspectorError as error:
            if error.kind == "cancelled":
                return {"ended": True, "cancelled": True}
            raise

    def _body(self, request: Request, *, dataset: bool = True) -> dict[str, Any]:
        """The config and, where one is looked at, the dataset. Raises ConfigError, also for a model from elsewhere."""
        config = self._config(request)
        faults = list(outside_faults(self.room.workspace, config))
        if faults:
            raise ConfigError(faults)
        tree = read_yaml(dump(config))
        return {"config": tree, "name": named(request)} if dataset else {"config": tree}

    def _config(self, request: Request) -> TrainConfig:
        name, changes = request.get("name"), request.get("changes")
        given = cast("dict[str, Any]", changes) if isinstance(changes, dict) else {}
        return token_config(self._base(request), given, name if isinstance(name, str) and name else None)

    def _base(self, request: Request) -> Tree:
        """The tree of a run, else of the form, else one with the first model that there is."""
        run = request.get("base")
        if isinstance(run, str) and run not in ("", "form"):
            return read_yaml(self.room.supervisor.folder(run).config_text())
        if text := str(request.get("command") or "").strip():
            return override({}, _assignments(text))
        section, _, name = MODEL.partition(".")
        return {section: {name: next(iter(_values(self.providers["models"]())), "")}}

    def _field(self, language: str, config: TrainConfig, leaf: Leaf) -> dict[str, Any]:
        key = f"fields.{leaf.key}"
        options: list[tuple[str, str]] = [(option, option) for option in leaf.options]
        if leaf.kind == "type":
            options = [(say(language, f"{key}.options.{option}"), option) for option in leaf.options]
        elif leaf.choices is not None:
            options = [(one, one) if isinstance(one, str) else one for one in self.providers[leaf.choices.provider]()]
        return {
            "path": leaf.path,
            "kind": leaf.kind,
            # Away from its section's card, "Folder or id" would not say of what.
            "label": say(language, f"sections.{leaf.section}" if leaf.path == MODEL else f"{key}.label"),
            "info": say(language, f"{key}.info"),
            "value": value_at(config, leaf),
            "options": options,
            "free": leaf.choices.free if leaf.choices is not None else False,
            "group": "template" if leaf.path in TEMPLATE else "basic" if leaf.path in BASIC else "further",
        }


def _is_turn(turn: Any) -> bool:
    known = cast("dict[str, Any]", turn) if isinstance(turn, dict) else {}
    return all(isinstance(known.get(key), str) for key in ("role", "content"))


def _assignments(command: str) -> list[str]:
    """The settings in a command as the form shows it: the words with a sign behind the command's own."""
    words = shlex.split(command.replace("\\\n", " "))
    return [word for word in words[words.index("studio") + 1 :] if "=" in word]


def _values(choices: list[Any]) -> list[str]:
    return [choice if isinstance(choice, str) else choice[1] for choice in choices]
