"""What the Export tab asks for: the wizard's form and checks, the start, earlier exports and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from studio.config.export import ExportConfig
from studio.config.leaves import leaves
from studio.config.naming import name_for
from studio.config.workspace import Workspace
from studio.data.listing import list_datasets
from studio.runs.export_offers import Offer, export_of, local_models, trained_runs
from studio.runs.export_prospect import Finding, look_ahead
from studio.runs.submission import place, submit_config
from studio.runs.supervisor import Supervisor
from studio.web.asking import Action, Reply, Request, add_if_new, answer, rank
from studio.web.drawn_form import judged
from studio.web.export_shown import head, line
from studio.web.export_steps import STEPS, sections_of, sentence, steps
from studio.web.form_desk import FormDesk
from studio.web.shown_values import fill
from studio.web.start import Starter
from studio.web.words import say

KIND = "export"


class ExportView:
    """Reads run folders for the page and keeps nothing of its own."""

    def __init__(self, workspace: Workspace, supervisor: Supervisor) -> None:
        self.workspace, self.supervisor = workspace, supervisor
        self._desk = FormDesk(ExportConfig, Starter(workspace, supervisor))
        self._actions: dict[str, Action] = {
            "tick": self._tick,
            "form": self._form,
            "check": self._check,
            "start": self._start,
            "act": self._act,
        }

    def export(self, request: Request) -> Reply:
        """Do what the request names in `action`; the answer, or `error` with the reason and the way out."""
        return answer(self._actions, request)

    # ---- what moved ----

    def _tick(self, request: Request) -> Reply:
        """The list of exports and the one that is open, each only where it differs from what the page has."""
        self.supervisor.reconcile()
        jobs = [job for job in self.supervisor.jobs() if job.kind == KIND]
        reply: Reply = {}
        lines = [line(request["language"], job, self.supervisor.folder(job.name)) for job in sorted(jobs, key=rank)]
        add_if_new(reply, "list", {"exports": lines}, request)
        name = request.get("name")
        job = next((job for job in jobs if job.name == name), None)
        if name and job is None:
            return {**reply, "missing": say(request["language"], "page.export.missing", name=name)}
        if job is not None:
            folder = self.supervisor.folder(job.name)
            add_if_new(reply, "head", head(request["language"], self.workspace, job, folder), request)
            reply["clock"] = time.time()
        return reply

    # ---- the wizard ----

    def _form(self, request: Request) -> Reply:
        """The form with its steps, what could be exported, and with `from` the settings for that."""
        reply = self._desk.form(request)
        wanted = request.get("from")
        shown = fill(export_of(self.workspace, str(wanted))) if wanted else {}
        about = [
            {"name": name, "title": say(request["language"], f"page.export.steps.{name}"), "sections": sections}
            for name, sections in zip(STEPS, sections_of(ExportConfig), strict=True)
        ]
        return {
            **reply,
            "shown": shown,
            "steps": about,
            "runs": [self._offer(offer) for offer in trained_runs(self.workspace)],
            "models": [self._offer(offer) for offer in local_models(self.workspace)],
            "since": time.time(),
        }

    def _offer(self, offer: Offer) -> Reply:
        """An offer with the settings of the first step that choose it, and each of its checkpoints likewise."""
        first = sections_of(ExportConfig)[0]
        keys = [leaf.key for leaf in leaves(ExportConfig) if leaf.section in first and not leaf.advanced]

        def choice(path: str, name: str) -> Reply:
            shown = fill(export_of(self.workspace, path))
            return {"name": name, "path": path, "values": {key: shown[key] for key in keys}}

        points = [choice(path, path.rpartition("/")[2]) for path in offer.points]
        return {**choice(offer.path or offer.points[0], offer.name), "about": offer.about, "points": points,
                "whole": bool(offer.path)}  # fmt: skip

    def _check(self, request: Request) -> Reply:
        """What the fields amount to, step by step: faults, sizes, memory, engines, the command."""
        reply, language = self._desk.check(request), request["language"]
        config = _config_of(request) if reply["yaml"] else None
        wrong = any(said["severity"] != "hint" for said in (*reply["fields"].values(), *reply["others"]))
        findings, waits = list[Finding](), False
        if config is not None and not wrong:
            findings = self._findings(config, self._name(config, request))
            waits = place(self.supervisor, config).position > 0
        blocked = reply["blocked"] or any(finding.severity == "fault" for finding in findings)
        found = steps(language, ExportConfig, config, reply["fields"], findings)
        return {**reply, "blocked": blocked, "place": "" if blocked else reply["place"], "waits": waits, "steps": found}

    def _findings(self, config: ExportConfig, name: str) -> list[Finding]:
        """What the export would meet; a dataset that a run was trained on may be gone by now."""
        ahead = look_ahead(self.workspace, config, name)
        usable = (
            {entry.name for entry in list_datasets(self.workspace) if entry.problem is None} if ahead.datasets else ()
        )
        gone = [dataset for dataset in ahead.datasets if dataset not in usable]
        missing = [Finding("checks", "fault", "no_dataset", {"names": ", ".join(gone)})] if gone else []
        return [*ahead.findings, *missing]

    def _name(self, config: ExportConfig, request: Request) -> str:
        """The name of the run: the given one, else one with the time at which the wizard was opened. So the folder
        that the checks name is the one that the export goes to."""
        return name_for(config, datetime.fromtimestamp(float(request.get("since") or time.time())))

    def _start(self, request: Request) -> Reply:
        """Queue the export. Raises ConfigError, RunError."""
        config = self._desk.config(request)
        assert isinstance(config, ExportConfig)
        name = self._name(config, request)
        wrong = [one for one in self._findings(config, name) if one.severity == "fault"]
        if wrong:
            return {"error": " ".join(sentence(request["language"], one) for one in wrong)}
        named = config.model_copy(update={"name": name})
        job = submit_config(self.supervisor, named, if_exists="refuse" if config.name else "rename")
        return {"name": job.name, "state": job.state.value}

    # ---- one export ----

    def _act(self, request: Request) -> Reply:
        """Do what a button says. A run that ended without its export begins anew."""
        name, language = str(request.get("name")), request["language"]
        acts: dict[str, Callable[[], object]] = {
            "stop": lambda: self.supervisor.stop(name),
            "kill": lambda: self.supervisor.kill(name),
            "resume": lambda: self.supervisor.resume(name),
            "top": lambda: self.supervisor.move(name, 1),
            "remove": lambda: self.supervisor.remove(name),
        }
        wanted = str(request.get("do"))
        if wanted not in acts:
            return {"error": f"Unknown action {wanted!r}."}
        acts[wanted]()
        message = say(language, "page.export.cancelling") if wanted == "stop" else ""
        return {"message": message, "gone": wanted == "remove"}


def _config_of(request: Request) -> ExportConfig | None:
    """The config that the fields show, whatever is wrong with it."""
    config = judged(ExportConfig, request.get("values") or {})[0]
    return config if isinstance(config, ExportConfig) else None
