"""The drawn form of a kind of job, from its first drawing to the queued job: what several tabs begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.config.faults import ConfigError, Fault
from studio.config.io import dump
from studio.config.jobs import JobConfig
from studio.runs.submission import submit_config
from studio.web.drawn_form import by_field, described, judged
from studio.web.providers import providers
from studio.web.start import Starter
from studio.web.summary import TO_DO, command_text

Request = Mapping[str, Any]
Reply = dict[str, Any]


@dataclass(frozen=True)
class Look:
    """What the fields of a form show, the config that they mean if it has the right shape, and all faults and hints."""

    language: str
    shown: Mapping[str, Any]
    config: JobConfig | None
    faults: list[Fault]

    @property
    def blocked(self) -> bool:
        """Whether it cannot be started as it is."""
        return any(fault.severity == "fault" for fault in self.faults)


class FormDesk:
    """The form of `schema` for a page that asks `form`, `check` on every change, and `start`."""

    def __init__(self, schema: type[JobConfig], starter: Starter) -> None:
        self.schema, self._starter = schema, starter

    def form(self, request: Request) -> Reply:
        """Sections, fields and choices as they are now."""
        return described(self.schema, providers(self._starter.workspace, self._starter.supervisor), request["language"])

    def look(self, request: Request) -> Look:
        """The form as it is, judged on its own and in this workspace."""
        shown = request.get("values") or {}
        config, faults = judged(self.schema, shown)
        if config is not None:
            faults = [*faults, *self._starter.faults(config)]
        return Look(request["language"], shown, config, faults)

    def said(self, look: Look) -> Reply:
        """What the fields amount to: faults at their fields, where it would run, the command and the file."""
        fields, others = by_field(self.schema, look.shown, look.faults, look.language)
        for said in (*fields.values(), *others):
            said["severity"] = "to-do" if said["code"] in TO_DO else said["severity"]
        texts = {"place": "", "command": "", "yaml": ""}
        if look.config is not None:
            place = "" if look.blocked else self._starter.place(look.language, look.config)
            texts = {"place": place, "command": command_text(look.config), "yaml": dump(look.config)}
        return {"fields": fields, "others": others, "blocked": look.blocked, **texts}

    def check(self, request: Request) -> Reply:
        """What the fields amount to now."""
        return self.said(self.look(request))

    def config(self, request: Request) -> JobConfig:
        """The config that the fields show. Raises ConfigError."""
        config, faults = judged(self.schema, request.get("values") or {})
        wrong = [fault for fault in faults if fault.severity == "fault"]
        if config is None or wrong:
            raise ConfigError(wrong or faults)
        if around := self._starter.faults(config):
            raise ConfigError(around)
        return config

    def start(self, request: Request) -> Reply:
        """Queue the job; a name that is taken is given a number. Raises ConfigError, RunError."""
        job = submit_config(self._starter.supervisor, self.config(request), if_exists="rename")
        return {"name": job.name, "state": job.state.value}
