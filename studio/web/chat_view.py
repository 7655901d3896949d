"""What the Chat tab asks for: load and unload models, questions and the answers so far, rows to keep."""

from __future__ import annotations

from typing import Any

import httpx
import psutil

from studio.config.serve import ServeConfig
from studio.config.workspace import Workspace
from studio.data.examples import DataError, Example, Message
from studio.data.keeping import keep
from studio.runs.folder import RunFolder
from studio.runs.processes import is_same
from studio.runs.serving import Serving, read_serving
from studio.runs.serving_subject import serving_of
from studio.runs.states import ACTIVE, State
from studio.runs.store import Job
from studio.runs.supervisor import Supervisor
from studio.web.asking import Action, Reply, Request, answer
from studio.web.chat_streams import Streams
from studio.web.form_desk import FormDesk
from studio.web.shown_values import fill
from studio.web.start import Starter
from studio.web.words import say

ASK_SECONDS = 60.0
KIND = "serve"


class ChatView:
    """Talks to serving processes for the page. Conversations live in the browser, answers under way also here."""

    def __init__(self, workspace: Workspace, supervisor: Supervisor) -> None:
        self.workspace, self.supervisor = workspace, supervisor
        self._desk = FormDesk(ServeConfig, Starter(workspace, supervisor))
        self._streams = Streams()
        self._actions: dict[str, Action] = {
            "state": self._state,
            "form": self._form,
            "check": self._desk.check,
            "load": self._desk.start,
            "unload": self._unload,
            "ask": self._ask,
            "poll": self._poll,
            "stop": self._stop,
            "prompt": lambda request: self._own(request, "prompt"),
            "difference": lambda request: self._own(request, "difference"),
            "keep": self._keep,
        }

    def chat(self, request: Request) -> Reply:
        """Do what the request names in `action`; the answer, or `error` with the reason and the way out."""
        return answer(self._actions, request)

    def _form(self, request: Request) -> Reply:
        """The form of a serving process; with `from` filled for that run or export."""
        wanted = request.get("from")
        config = serving_of(self.workspace, str(wanted)) if wanted else None
        return {**self._desk.form(request), "shown": fill(config) if config is not None else {}}

    def _state(self, request: Request) -> Reply:
        """The serving runs that are alive, the newest first, and the last one that is not."""
        self.supervisor.reconcile()
        jobs = sorted((job for job in self.supervisor.jobs() if job.kind == KIND), key=lambda job: -job.created)
        alive = [job for job in jobs if job.state in ACTIVE or job.state is State.QUEUED]
        last = next((job for job in jobs if job not in alive), None)
        failed = last if last is not None and last.state in (State.FAILED, State.LOST) else None
        return {
            "runs": [self._run(job) for job in alive],
            "failed": {"name": failed.name, "cause": failed.cause, "advice": failed.advice} if failed else None,
        }

    def _run(self, job: Job) -> Reply:
        folder = self.supervisor.folder(job.name)
        serving = read_serving(folder) if job.state is State.RUNNING else None
        status = folder.status()
        return {
            "name": job.name,
            "state": job.state.value,
            "phase": status.phase,
            "message": status.message,
            "position": job.position,
            "devices": list(job.devices),
            "models": list(serving.models) if serving else [],
            "address": f"{serving.address}/v1" if serving else "",
            "memory": _memory(folder),
        }

    def _unload(self, request: Request) -> Reply:
        name = str(request.get("run"))
        folder = self.supervisor.folder(name)
        before = _memory(folder)
        self.supervisor.stop(name)
        return {"memory": before}

    def _serving(self, request: Request) -> Serving:
        name = str(request.get("run"))
        job = self.supervisor.job(name)
        serving = read_serving(self.supervisor.folder(name)) if job.state is State.RUNNING else None
        if serving is None:
            raise DataError(say(request["language"], "page.chat.not_loaded", name=name))
        return serving

    def _ask(self, request: Request) -> Reply:
        """Begin an answer of each body; their ids, by the names of the models."""
        serving = self._serving(request)
        bodies: list[dict[str, Any]] = request.get("bodies") or []
        return {"answers": {str(body["model"]): self._streams.begin(serving, body) for body in bodies}}

    def _poll(self, request: Request) -> Reply:
        """The news of several answers; `answers` maps ids to the letters that the page has already."""
        wanted: dict[str, int] = request.get("answers") or {}
        found = {name: self._streams.get(name) for name in wanted}
        gone = {"text": "", "end": "error", "error": say(request["language"], "page.chat.answer_gone"), "calls": []}
        return {"answers": {name: one.facts(wanted[name]) if one else gone for name, one in found.items()}}

    def _stop(self, request: Request) -> Reply:
        for name in request.get("answers") or ():
            stream = self._streams.get(name)
            if stream is not None:
                stream.stopped = True
        return {}

    def _own(self, request: Request, question: str) -> Reply:
        """One of the questions that Studio's servers answer beside OpenAI's."""
        serving = self._serving(request)
        try:
            reply = httpx.post(
                f"{serving.address}/studio/{question}", json=request.get("body") or {}, timeout=ASK_SECONDS,
                headers={"Authorization": f"Bearer {serving.key}"}, trust_env=False,
            )  # fmt: skip
            answer = reply.json()
        except (httpx.HTTPError, ValueError):
            return {"error": say(request["language"], "page.chat.silent")}
        if reply.status_code == httpx.codes.NOT_FOUND:
            return {"error": say(request["language"], "page.chat.only_own")}
        return {"error": answer["error"]["message"]} if "error" in answer else {"answer": answer}

    def _keep(self, request: Request) -> Reply:
        """Append a conversation, or the better and the worse of two answers to it, to a dataset."""
        turns = tuple(Message(turn["role"], turn["content"]) for turn in request.get("messages") or ())
        sides = {key: Message("assistant", request[key]) for key in ("chosen", "rejected") if request.get(key)}
        example = Example("chat", 1, turns, **sides)
        file = keep(self.workspace, str(request.get("dataset") or ""), example)
        return {"message": say(request["language"], "page.chat.kept", file=file)}


def _memory(folder: RunFolder) -> int | None:
    """Main memory of the run's worker in bytes; None when it does not live."""
    found = folder.processes()
    try:
        alive = is_same(found.worker_pid, found.worker_created)
        return psutil.Process(found.worker_pid).memory_info().rss if alive else None
    except psutil.Error:
        return None
