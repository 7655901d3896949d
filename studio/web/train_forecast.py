"""The forecast panel of the Train tab: memory by part, what would make it fit, and a probe that measures it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.config.probe import probe_of
from studio.config.train import TrainConfig
from studio.runs import forecasts
from studio.runs.forecasts import Place, place_of
from studio.runs.inspector import Asked, Inspector, inspector_of
from studio.runs.states import ENDED, State
from studio.runs.submission import submit_config
from studio.web.asking import Action, Reply, Request
from studio.web.train_room import TrainRoom, config_of
from studio.web.words import say

POLL_SECONDS = 0.25  # how long an answer may wait for news


def actions(room: TrainRoom) -> Mapping[str, Action]:
    """The verbs of the panel."""
    panel = Panel(room, inspector_of(room.workspace))
    return {
        "estimate": panel.estimate,
        "fit": panel.fit,
        "news": panel.news,
        "measure": panel.measure,
        "measuring": panel.measuring,
    }


@dataclass(frozen=True)
class Panel:
    """Answers the panel's script. The helper process computes; a question is known by its ticket."""

    room: TrainRoom
    inspector: Inspector

    def estimate(self, request: Request) -> Reply:
        """Ask for the forecast of the form; `news` brings it. Raises ConfigError, RunError."""
        config, place = self._sound(request)
        asked = self._begin("forecast", config, {"device": place.kind})
        return {**self._news(asked, request), "place": _shown(place)}

    def fit(self, request: Request) -> Reply:
        """Ask for the smallest change that fits; `news` brings it. Raises ConfigError, RunError."""
        config, place = self._sound(request)
        return self._news(self._begin("forecast.fit", config, {"device": place.kind, "limit": place.limit}), request)

    def news(self, request: Request) -> Reply:
        """Whether the question `ticket` is answered, and the answer. Raises InspectorError."""
        return self._news(self.inspector.find(int(request.get("ticket") or 0)), request)

    def measure(self, request: Request) -> Reply:
        """Queue a probe of the form; it waits for the device like any run. Raises ConfigError, RunError."""
        config, _ = self._sound(request)
        return {"run": submit_config(self.room.supervisor, probe_of(config), if_exists="rename").name}

    def measuring(self, request: Request) -> Reply:
        """How far the probe `run` is. One that ended well is removed, its numbers stay. Raises RunError."""
        supervisor, name = self.room.supervisor, str(request.get("run") or "")
        supervisor.reconcile()
        job = supervisor.job(name)
        if job.kind != "probe":
            return {"error": say(request["language"], "page.train.forecast.no_probe", name=name)}
        status = supervisor.folder(name).status()
        reply: Reply = {"state": str(job.state), "phase": status.phase, "step": status.step, "total": status.total}
        if job.state is State.FINISHED:
            supervisor.remove(name)
        elif job.state in ENDED:
            reply["cause"] = job.cause
        return {**reply, "ended": job.state in ENDED}

    def _sound(self, request: Request) -> tuple[TrainConfig, Place]:
        config = config_of(request)
        return config, place_of(config)

    def _begin(self, question: str, config: TrainConfig, further: Mapping[str, Any]) -> Asked:
        return self.inspector.begin(question, {"config": config.model_dump(mode="json"), **further})

    def _news(self, asked: Asked, request: Request) -> Reply:
        asked.ended.wait(POLL_SECONDS)
        if not asked.ended.is_set():
            return {"ticket": asked.ticket}
        answer = asked.result()
        if "changes" not in answer:
            return {"answer": answer}
        config = config_of(request)
        changes = forecasts.by_key(config, answer["changes"])
        labels = [{**one, "label": say(request["language"], f"fields.{one['key']}.label")} for one in changes]
        return {"answer": {**answer, "changes": labels}}


def _shown(place: Place) -> Reply:
    return {"name": place.name, "label": place.label, "total": place.total, "free": place.free, "limit": place.limit}
