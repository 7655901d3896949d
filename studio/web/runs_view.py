"""What the Runs tab asks for: `tick` says what moved since the last time, `act` does what a button says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.config.faults import ConfigError
from studio.config.io import dump, override, parse, read_yaml
from studio.config.outline import length_setting
from studio.config.train import TrainConfig
from studio.config.workspace import OutsideWorkspace, Workspace
from studio.runs.errors import RunError
from studio.runs.supervisor import Supervisor
from studio.web.curve_cache import CurveCache
from studio.web.panels import PANELS
from studio.web.run_detail import detail, read_config
from studio.web.run_doctor import RunDoctor
from studio.web.runs_list import overview
from studio.web.words import known, say

Request = Mapping[str, Any]


class RunsView:
    """Reads run folders for the page. Everything that it keeps can be lost and made again."""

    def __init__(self, workspace: Workspace, supervisor: Supervisor) -> None:
        self.workspace = workspace
        self.supervisor = supervisor
        self.curves = CurveCache()
        self.doctor = RunDoctor(self.curves)
        self._actions: dict[str, Callable[[str, Request], dict[str, Any]]] = {
            "stop": self._stop,
            "stop_save": self._stop,
            "pause": self._pause,
            "resume": self._resume,
            "fresh": self._fresh,
            "save_now": self._save_now,
            "kill": self._kill,
            "remove": self._remove,
            "top": self._top,
            "clone": lambda name, _request: {"form": name},
        }

    def tick(self, request: Request) -> dict[str, Any]:
        """The list, the head and the open view of a run, each only if it differs from what the page has."""
        language = known(request.get("language"))
        self.supervisor.reconcile()
        jobs = self.supervisor.jobs()
        folders = {job.name: self.supervisor.folder(job.name) for job in jobs}
        reply: dict[str, Any] = {}
        shown = overview(jobs, folders, self.curves)
        if shown["version"] != request.get("list"):
            reply["list"] = shown
        name = request.get("run")
        if not name:
            return reply
        job = next((job for job in jobs if job.name == name), None)
        if job is None:
            return {**reply, "missing": f"{name}: {say(language, 'page.runs.choose')}"}
        folder = folders[job.name]
        looked = self.doctor.look(language, job, folder)
        head = detail(language, job, folder, self.curves.events(folder), looked)
        if head["version"] != request.get("version"):
            reply["detail"] = head
        panel = PANELS.get(str(request.get("view")))
        news = panel(language, folder, self.curves, request) if panel else None
        if news is not None:
            reply["panel"] = news
        return reply

    def act(self, request: Request) -> dict[str, Any]:
        """Do what a button says; the reply has `message`, or `error` with the reason and the way out."""
        action, name = self._actions.get(str(request.get("action"))), request.get("run")
        if action is None or not isinstance(name, str):
            return {"error": f"Unknown action {request.get('action')!r}."}
        try:
            return action(name, request)
        except (RunError, ConfigError, OutsideWorkspace, OSError) as error:
            return {"error": str(error)}

    def _stop(self, name: str, request: Request) -> dict[str, Any]:
        self.supervisor.stop(name)
        return {"message": say(known(request.get("language")), "page.runs.stop_request")}

    def _pause(self, name: str, request: Request) -> dict[str, Any]:
        self.supervisor.pause(name)
        return {"message": say(known(request.get("language")), "page.runs.stop_request")}

    def _save_now(self, name: str, request: Request) -> dict[str, Any]:
        self.supervisor.save_now(name)
        return {"message": say(known(request.get("language")), "page.runs.saved_request")}

    def _kill(self, name: str, _request: Request) -> dict[str, Any]:
        self.supervisor.kill(name)
        return {}

    def _top(self, name: str, _request: Request) -> dict[str, Any]:
        self.supervisor.move(name, 1)
        return {}

    def _remove(self, name: str, _request: Request) -> dict[str, Any]:
        self.supervisor.remove(name)
        return {"gone": True}

    def _resume(self, name: str, request: Request) -> dict[str, Any]:
        """Go on from the chosen checkpoint; to another length the config is written anew first."""
        folder, text = self.supervisor.folder(name), None
        wanted, config = str(request.get("length") or "").strip(), read_config(self.supervisor.job(name), folder)
        if wanted and isinstance(config, TrainConfig):
            path, value = length_setting(config)
            longer = parse(override(read_yaml(folder.config_text()), [f"{path}={wanted}"]))
            text = dump(longer) if length_setting(longer)[1] != value else None
        job = self.supervisor.resume(name, checkpoint=request.get("checkpoint") or None, config_text=text)
        return {"message": job.notice}

    def _fresh(self, name: str, _request: Request) -> dict[str, Any]:
        """The same run from the beginning, in place of what it left."""
        job, folder = self.supervisor.job(name), self.supervisor.folder(name)
        self.supervisor.submit(
            name, job.kind, folder.config_text(), devices_wanted=job.devices_wanted, if_exists="replace"
        )
        return {}
