"""The Generate view of the Data tab: jobs that let a model write rows, and the review of what they wrote."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from studio.config.faults import ConfigError, Fault
from studio.config.generate import GenerateConfig
from studio.data.chosen import dataset_faults
from studio.data.examples import DataError
from studio.data.generated import FILE as GENERATED
from studio.data.material import key_hints, material_faults, outlay
from studio.data.reviewing import FILE as DECISIONS
from studio.data.reviewing import Review, Reviewed, State, meant_for, page_of
from studio.runs.states import ACTIVE
from studio.runs.submission import submit_config
from studio.web.data_room import Action, DataRoom, Reply, Request, named, number
from studio.web.drawn_form import by_field, described, judged
from studio.web.providers import providers
from studio.web.summary import command_text
from studio.web.words import say

KIND = "generate"
Facts = tuple[tuple[int, int], ...]  # time of change and size of the files that a review is read from

ROWS_A_PAGE = 20
FAILURES_SHOWN = 20
_TO_DO = frozenset({"missing", "no_seeds", "not_empty"})


def actions(room: DataRoom) -> dict[str, Action]:
    """form, check, start; runs, rows; decide, edit, undo, add."""
    return {
        "form": lambda request: described(GenerateConfig, providers(room.workspace, room.supervisor), _tongue(request)),
        "check": lambda request: _check(room, request),
        "start": lambda request: _start(room, request),
        "runs": lambda request: _runs(room, request),
        "rows": lambda request: _rows(room, request),
        "decide": lambda request: _decide(room, request),
        "edit": lambda request: _edit(room, request),
        "undo": lambda request: _undo(room, request),
        "add": lambda request: _add(room, request),
    }


def _tongue(request: Request) -> str:
    return str(request["language"])


def _shown(request: Request) -> dict[str, Any]:
    values = request.get("values")
    return values if isinstance(values, dict) else {}


def _faults(room: DataRoom, request: Request) -> tuple[GenerateConfig | None, list[Fault]]:
    """The config that the form shows, and all that can be said about it before it starts."""
    config, faults = judged(GenerateConfig, _shown(request))
    if not isinstance(config, GenerateConfig):
        return None, faults
    around = [*dataset_faults(room.workspace, config), *material_faults(room.workspace, config)]
    return config, [*faults, *around, *key_hints(config, os.environ)]


def _check(room: DataRoom, request: Request) -> Reply:
    """What the form amounts to: faults at their fields, one sentence, the exact command."""
    language = _tongue(request)
    config, faults = _faults(room, request)
    fields, others = by_field(GenerateConfig, _shown(request), faults, language)
    for said in (*fields.values(), *others):
        said["severity"] = "to-do" if said["code"] in _TO_DO else said["severity"]
    blocked = any(fault.severity == "fault" for fault in faults)
    reply: Reply = {"fields": fields, "others": others, "blocked": blocked, "sentence": "", "command": ""}
    if config is None:
        return reply
    asked = outlay(config)
    key = "page.data.review.sentence_cost" if asked.cost else "page.data.review.sentence"
    target = say(language, f"fields.target.type.options.{asked.target}")
    values = {"rows": f"{asked.rows:,}", "target": target, "model": asked.model}
    said = say(language, key, requests=f"{asked.requests:,}", cost=f"{asked.cost or 0:,.4g}", **values)
    return {**reply, "sentence": said, "command": command_text(config, {})}


def _start(room: DataRoom, request: Request) -> Reply:
    config, faults = _faults(room, request)
    wrong = [fault for fault in faults if fault.severity == "fault"]
    if config is None or wrong:
        raise DataError(str(ConfigError(wrong)))
    job = submit_config(room.supervisor, config)
    return {"run": job.name, "message": say(_tongue(request), "page.form.started", name=job.name)}


def _runs(room: DataRoom, request: Request) -> Reply:
    """Every job of this kind, the newest first; nothing when the page has it already."""
    room.supervisor.reconcile()
    jobs = sorted(room.supervisor.jobs(), key=lambda job: -job.created)
    shown = [
        {
            "name": job.name,
            "state": job.state.value,
            "held": job.held,
            "active": job.state in ACTIVE,
            "cause": job.cause,
            "advice": job.advice,
            **_progress(room.workspace.saves / job.name, room, job.name),
        }
        for job in jobs
        if job.kind == KIND
    ]
    version = _version(shown)
    return {} if version == request.get("version") else {"version": version, "runs": shown}


def _progress(folder: Path, room: DataRoom, name: str) -> dict[str, Any]:
    status = room.supervisor.folder(name).status()
    said = {"phase": status.phase, "message": status.message, "step": status.step, "total": status.total}
    return {**said, "notices": list(status.notices), "counts": _counts(folder, _facts(folder))}


def _rows(room: DataRoom, request: Request) -> Reply:
    """One page of rows in a state; nothing when the page has it already."""
    folder = _folder(room, request)
    review, state, start = _review(folder), str(request.get("state") or ""), max(0, number(request, "start", 0))
    rows, total = page_of(review.rows, state, start, ROWS_A_PAGE)
    failures = [
        {"reason": failed.failure, "raw": failed.raw, "origin": failed.origin}
        for failed in review.failures[:FAILURES_SHOWN]
    ]
    shown: dict[str, Any] = {
        "rows": [_row(row) for row in rows],
        "total": total,
        "start": start,
        "counts": review.counts,
        "can_undo": review.can_undo,
        "failures": failures,
        "failed": len(review.failures),
        "dataset": meant_for(folder),
    }
    version = _version(shown)
    return {} if version == request.get("version") else {**shown, "version": version}


def _row(row: Reviewed) -> dict[str, Any]:
    facts = {"number": row.number, "state": row.state, "edited": row.edited, "dataset": row.dataset}
    return {**facts, **row.row.tree(), "origin": row.request.origin, "passage": row.request.passage}


def _decide(room: DataRoom, request: Request) -> Reply:
    """Accept, reject or reopen rows: those in `rows`, or all of a `state`."""
    review = Review(_folder(room, request))
    state, rows = request.get("state"), request.get("rows")
    if isinstance(state, str):
        chosen = [row.number for row in review.rows if row.state == state]
    else:
        chosen = [one for one in rows if isinstance(one, int)] if isinstance(rows, list) else []
    review.decide(named(request, "verdict"), chosen)
    return {}


def _edit(room: DataRoom, request: Request) -> Reply:
    """Give a row other words; with `accept` it is accepted too."""
    review, place = Review(_folder(room, request)), number(request, "row", 0)
    review.edit(place, request.get("value"))
    if request.get("accept"):
        review.decide("accept", [place])
    return {}


def _undo(room: DataRoom, request: Request) -> Reply:
    Review(_folder(room, request)).undo()
    return {}


def _add(room: DataRoom, request: Request) -> Reply:
    taken = Review(_folder(room, request)).add_to(room.workspace, named(request, "to").strip())
    key = "page.data.review.written" if taken.new else "page.data.review.appended"
    return {"dataset": taken.name, "message": say(_tongue(request), key, name=taken.name, rows=f"{taken.rows:,}")}


def _folder(room: DataRoom, request: Request) -> Path:
    """The folder of the run that a request names. Raises RunError when there is none."""
    return room.workspace.saves / room.supervisor.job(named(request, "run")).name


def _review(folder: Path) -> Review:
    """The review as its files are now; read again only when they have moved."""
    return _read(folder, _facts(folder))


def _facts(folder: Path) -> Facts:
    return tuple(_fact(folder / name) for name in (GENERATED, DECISIONS))


def _fact(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except FileNotFoundError:
        return 0, 0
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=4)
def _read(folder: Path, facts: Facts) -> Review:
    """`facts` are part of the key, not of the reading."""
    return Review(folder)


@lru_cache(maxsize=1024)
def _counts(folder: Path, facts: Facts) -> dict[State, int]:
    """Kept apart from the rows, which are large: the list asks for every run."""
    return _read(folder, facts).counts


def _version(shown: object) -> str:
    return hashlib.sha1(json.dumps(shown).encode(), usedforsecurity=False).hexdigest()
