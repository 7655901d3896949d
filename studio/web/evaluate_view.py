"""What the Evaluate tab asks for: what moved, the form of a new evaluation, rows, files, scoring anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from studio.config.evaluate import EvaluateConfig
from studio.config.io import spell
from studio.config.leaves import leaves
from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.runs.evaluation_report import report
from studio.runs.evaluation_results import LOSSES, PREDICTIONS, RESULTS, rows_csv, scores_csv
from studio.runs.evaluation_subject import evaluation_config, evaluation_of, subject
from studio.runs.folder import RunFolder
from studio.runs.rescoring import Rescoring
from studio.runs.states import ACTIVE, State
from studio.runs.store import Job
from studio.runs.supervisor import Supervisor
from studio.web.asking import Action, Reply, Request, add_if_new, answer, rank
from studio.web.data_files import Download, Tickets
from studio.web.drawn_form import by_field, described, judged
from studio.web.evaluate_cache import Answers, EvaluationCache, results_of, stamp
from studio.web.evaluate_rows import Query, one, page, place_of
from studio.web.evaluate_table import main_score, table
from studio.web.form_desk import FormDesk
from studio.web.providers import providers
from studio.web.run_detail import detail
from studio.web.shown_values import fill
from studio.web.start import Starter
from studio.web.words import say

KIND = "evaluate"
RESCORED = "scores"
"""The section of the config that saved answers can be scored anew by."""

LIVE_LETTERS = 400


class EvaluateView:
    """Reads run folders for the page. Everything that it keeps can be lost and made again."""

    def __init__(self, workspace: Workspace, supervisor: Supervisor, tickets: Tickets) -> None:
        self.workspace, self.supervisor, self.tickets = workspace, supervisor, tickets
        self.cache, self.rescoring = EvaluationCache(), Rescoring(workspace)
        self._desk = FormDesk(EvaluateConfig, Starter(workspace, supervisor))
        self._actions: dict[str, Action] = {
            "tick": self._tick,
            "form": self._form,
            "check": self._desk.check,
            "start": self._desk.start,
            "act": self._act,
            "rows": self._rows,
            "row": self._row,
            "download": self._download,
            "rescore_form": self._rescore_form,
            "rescore": self._rescore,
        }

    def evaluate(self, request: Request) -> Reply:
        """Do what the request names in `action`; the answer, or `error` with the reason and the way out."""
        return answer(self._actions, request)

    # ---- what moved ----

    def _tick(self, request: Request) -> Reply:
        """The list, the head, the table and the newest answers, each only where it differs from what the page has."""
        self.supervisor.reconcile()
        jobs = [job for job in self.supervisor.jobs() if job.kind == KIND]
        reply: Reply = {}
        add_if_new(reply, "list", {"evaluations": [self._line(job) for job in sorted(jobs, key=rank)]}, request)
        name = request.get("name")
        if not name:
            return reply
        job = next((job for job in jobs if job.name == name), None)
        if job is None:
            return {**reply, "missing": say(request["language"], "page.evaluate.missing", name=name)}
        folder = self.supervisor.folder(job.name)
        answers = self.cache.answers(folder.path)
        add_if_new(reply, "head", self._head(request["language"], job, folder, answers), request)
        version = str(stamp(folder.path / RESULTS))
        if version != request.get("table"):
            found = results_of(folder.path)
            reply["table"] = {"version": version, "results": table(found) if found is not None else None}
        reply["rows_version"] = answers.version
        return reply

    def _line(self, job: Job) -> Reply:
        folder = self.supervisor.folder(job.name)
        status, about, found = folder.status(), subject(folder), results_of(folder.path)
        return {
            "name": job.name,
            "state": job.state.value,
            "held": job.held,
            "position": job.position,
            "cause": job.cause if job.state in (State.FAILED, State.LOST) else "",
            "phase": status.phase,
            "step": status.step,
            "total": status.total,
            "candidates": list(found.candidates if found else about.candidates),
            "datasets": list(found.datasets if found else about.datasets),
            "main": main_score(found) if found else None,
        }

    def _head(self, language: str, job: Job, folder: RunFolder, answers: Answers) -> Reply:
        """The run as the Runs tab knows it, with what it is about and how far its candidates are."""
        head = detail(language, job, folder, ())
        path, done = folder.path, results_of(folder.path) is not None
        with answers.lock:
            latest = [_latest(one) for one in reversed(answers.latest)] if job.state in ACTIVE else []
            counts, total = dict(answers.counts), len(answers.rows)
        saved = any((path / file).is_file() for file in (PREDICTIONS, LOSSES))
        head |= {
            "about": asdict(subject(folder)),
            "counts": counts,
            "rows": total,
            "latest": latest,
            "files": [*(["scores"] if done else []), *(["rows"] if total else []), *(["report"] if done else [])],
            "rescorable": saved and job.state not in ACTIVE and job.state is not State.QUEUED,
            "rescoring": self.rescoring.working(job.name),
            "rescoring_trouble": self.rescoring.trouble(job.name),
        }
        if job.state is State.STOPPED:  # it needs no checkpoint
            head["advice"] = say(language, "page.evaluate.resume_advice")
        if job.state is State.FINISHED:  # nothing is left to go on with
            head["actions"].remove("resume")
        del head["version"], head["clock"]  # of the whole of it, further up
        return head

    # ---- a new one ----

    def _form(self, request: Request) -> Reply:
        """The empty form, or with `subject` the one for a trained run; required choices begin with the first one."""
        reply = self._desk.form(request)
        every = {leaf.key: leaf for leaf in leaves(EvaluateConfig)}
        offered = providers(self.workspace, self.supervisor)
        for key, leaf in every.items():
            if leaf.required and leaf.choices is not None:
                first = next(iter(offered[leaf.choices.provider]()), None)
                reply["values"][key] = first[1] if isinstance(first, tuple) else first
        wanted = request.get("subject")
        config = evaluation_of(self.workspace, str(wanted)) if wanted else None
        return {**reply, "shown": fill(config) if config is not None else {}}

    # ---- one evaluation ----

    def _act(self, request: Request) -> Reply:
        """Do what a button of the head says."""
        name, language = str(request.get("name")), request["language"]
        acts: dict[str, Callable[[], object]] = {
            "stop": lambda: self.supervisor.stop(name),
            "pause": lambda: self.supervisor.pause(name),
            "kill": lambda: self.supervisor.kill(name),
            "resume": lambda: self.supervisor.resume(name),
            "top": lambda: self.supervisor.move(name, 1),
            "remove": lambda: self.supervisor.remove(name),
        }
        wanted = str(request.get("do"))
        if wanted not in acts:
            return {"error": f"Unknown action {wanted!r}."}
        acts[wanted]()
        message = say(language, "page.evaluate.stopping") if wanted in ("stop", "pause") else ""
        return {"message": message, "gone": wanted == "remove"}

    def _answers(self, request: Request) -> tuple[Answers, Query]:
        folder = self._folder(request)
        found = results_of(folder.path)
        return self.cache.answers(folder.path), Query.read(request, found.higher if found else {})

    def _folder(self, request: Request) -> RunFolder:
        return self.supervisor.folder(self.supervisor.job(str(request.get("name"))).name)

    def _rows(self, request: Request) -> Reply:
        return page(*self._answers(request))

    def _row(self, request: Request) -> Reply:
        place = place_of(request)
        found = one(*self._answers(request), place)
        return found or {"error": say(request["language"], "page.evaluate.no_row", row=place[1], dataset=place[0])}

    def _download(self, request: Request) -> Reply:
        """A link for one use to the scores or the rows as csv, or to the report."""
        folder, what = self._folder(request), str(request.get("what"))
        path, found = folder.path, results_of(folder.path)
        # The mark in front tells spreadsheets that a csv is UTF-8.
        writers: dict[str, tuple[str, Callable[[], bytes]]] = {
            "rows": ("rows.csv", lambda: rows_csv(path).encode("utf-8-sig")),
        }
        if found is not None:
            writers["scores"] = ("scores.csv", lambda: scores_csv(found).encode("utf-8-sig"))
            writers["report"] = ("report.html", lambda: report(path, folder.name).encode())
        if what not in writers:
            raise DataError(say(request["language"], "page.evaluate.no_file", name=folder.name))
        ending, write = writers[what]
        return {"link": self.tickets.download(Download(f"{folder.name}-{ending}", lambda: _once(write)))}

    # ---- scoring anew ----

    def _rescore_form(self, request: Request) -> Reply:
        """The section of the form that saved answers are scored by, as the run's config has it."""
        config = evaluation_config(self._folder(request))
        if config is None:
            raise DataError(say(request["language"], "page.evaluate.no_config", name=request.get("name")))
        reply = described(EvaluateConfig, providers(self.workspace, self.supervisor), request["language"])
        sections = [section for section in reply["sections"] if section["name"] == RESCORED]
        keys = {field["key"] for section in sections for field in section["fields"]}
        shown = {key: value for key, value in fill(config).items() if key in keys}
        return {"sections": sections, "values": {key: reply["values"][key] for key in keys}, "shown": shown}

    def _rescore(self, request: Request) -> Reply:
        """Begin to score anew; or `fields` with what is wrong with the settings."""
        folder, language = self._folder(request), request["language"]
        config, job = evaluation_config(folder), self.supervisor.job(folder.name)
        if config is None or job.state in ACTIVE or job.state is State.QUEUED:
            raise DataError(say(language, "page.evaluate.no_config", name=folder.name))
        own = [leaf for leaf in leaves(EvaluateConfig) if leaf.section == RESCORED]
        given: Mapping[str, Any] = request.get("values") or {}
        shown = {**fill(config), **{leaf.key: given[leaf.key] for leaf in own if leaf.key in given}}
        wanted, faults = judged(EvaluateConfig, shown)
        wrong = [fault for fault in faults if fault.severity == "fault"]
        if wanted is None or wrong:
            fields, others = by_field(EvaluateConfig, shown, wrong, language)
            return {"fields": fields, "error": " ".join(said["text"] for said in (*fields.values(), *others))}
        section = getattr(wanted, RESCORED)
        words = [f"{leaf.path}={spell(getattr(section, leaf.name))}" for leaf in own]
        self.rescoring.start(folder.name, words)
        return {"message": say(language, "page.evaluate.rescoring")}


def _latest(answer: Any) -> Reply:
    texts = {"prompt": answer.prompt[:LIVE_LETTERS], "answer": answer.answer[:LIVE_LETTERS]}
    return {"candidate": answer.candidate, "dataset": answer.dataset, "row": answer.row, **texts}


def _once(write: Callable[[], bytes]) -> Iterator[bytes]:
    yield write()
