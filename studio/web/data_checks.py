"""The Checks view: `studio data check` in a process of its own, its report kept, the rows that it names removable."""

from __future__ import annotations

from typing import Any

from studio.config.workspace import Workspace
from studio.data.editing import Draft
from studio.data.examples import DataError
from studio.data.kept_reports import (
    Question,
    kept_report,
    newest_question,
    report_folder,
    rows_read,
)
from studio.data.listing import list_datasets
from studio.data.registry import find_entry, load_registry
from studio.data.report import BROKEN, TITLES, Report
from studio.data.values import sequence
from studio.web import data_work
from studio.web.data_room import Action, DataRoom, Reply, Request, named
from studio.web.words import say


def actions(room: DataRoom) -> dict[str, Action]:
    """`state` of the asked check, `start`, `stop`, and `remove`: take the rows of a finding out in the draft."""
    workspace = room.workspace
    return {
        "open": lambda request: _open(workspace, request),
        "state": lambda request: _state(workspace, named(request), _question(request)),
        "start": lambda request: _start(workspace, request),
        "stop": lambda request: _stop(workspace, request),
        "remove": lambda request: _remove(workspace, request),
    }


def _open(workspace: Workspace, request: Request) -> Reply:
    """What the view begins with: the sets to compare with, and the newest report with what was asked for it."""
    name = named(request)
    others = [one.name for one in list_datasets(workspace) if not one.problem and not one.to_fetch and one.name != name]
    question = newest_question(workspace, find_entry(load_registry(workspace), name)) or Question()
    known = tuple(other for other in question.against if other in others)
    return {"others": others, **_state(workspace, name, Question(known, question.cutoff, question.near))}


def _state(workspace: Workspace, name: str, question: Question) -> Reply:
    """The report if there is one, else how far the check is."""
    folder = report_folder(workspace, name, question)
    work, kept = data_work.state(folder), kept_report(folder)
    working = work["working"] and kept is None  # a process that has written its report is about to end
    reply: Reply = {
        "question": {"against": list(question.against), "cutoff": question.cutoff, "near": question.near},
        "command": data_work.shown_command(_words(name, question)),
        "working": working,
        "rows": rows_read(folder) if working else 0,
        "seconds": work["seconds"],
    }
    if kept is not None:
        return {**reply, "report": _shown(kept[1])}
    if not working and work["output"] and work["code"] not in (None, 130):
        return {**reply, "failed": work["output"]}
    return reply


def _start(workspace: Workspace, request: Request) -> Reply:
    """Begin a check; a report on the same files and questions is given at once."""
    name, question = named(request), _question(request)
    folder = report_folder(workspace, name, question)
    if request.get("again") or kept_report(folder) is None:
        (folder / "report.json").unlink(missing_ok=True)
        data_work.start(workspace, folder, _words(name, question))
    return _state(workspace, name, question)


def _stop(workspace: Workspace, request: Request) -> Reply:
    name, question = named(request), _question(request)
    data_work.stop(report_folder(workspace, name, question))
    return _state(workspace, name, question)


def _remove(workspace: Workspace, request: Request) -> Reply:
    """All rows of the chosen findings out of the draft, as one step that can be undone."""
    name, question = named(request), _question(request)
    kept = kept_report(report_folder(workspace, name, question))
    kinds = [str(kind) for kind in sequence(request.get("kinds"))]
    if kept is None or not kinds:
        raise DataError(say(request["language"], "page.data.checks.stale"))
    draft = Draft.open(workspace, name)
    before = draft.count
    draft.remove(sorted(kept[1].rows_with(kinds)))
    count = draft.count - before
    return {"message": say(request["language"], "page.data.checks.removed", count=f"{count:,}"), "count": draft.count}


def _shown(report: Report) -> dict[str, Any]:
    """Counts, shares and the findings in their order, each with the places of its first rows."""
    findings = [
        {
            "kind": kind,
            "count": report.counts[kind],
            "broken": kind in BROKEN,
            "rows": len(report.numbers.get(kind, ())),
            "examples": [
                {"row": found.row, "line": found.line, "place": place, "text": found.text, "source": found.source}
                for found, place in zip(report.named.get(kind, ()), report.numbers.get(kind, ()), strict=False)
            ],
        }
        for kind in TITLES
        if report.counts[kind]
    ]
    return {
        "rows": report.rows,
        "usable": report.usable,
        "tokens": report.characters // 4,
        "longest": report.longest // 4,
        "kinds": dict(report.kinds.most_common()),
        "scripts": dict(report.scripts.most_common()),
        "broken_off": report.broken_off,
        "findings": findings,
    }


def _question(request: Request) -> Question:
    against, cutoff = sequence(request.get("against")), request.get("cutoff")
    if not all(isinstance(name, str) for name in against):
        raise DataError("against must be a list of names of datasets.")
    if cutoff is not None and (isinstance(cutoff, bool) or not isinstance(cutoff, int) or cutoff < 1):
        raise DataError(f"cutoff must be a whole number of tokens above 0, but is {cutoff!r}.")
    return Question(tuple(sorted(against)), cutoff, near=request.get("near") is not False)


def _words(name: str, question: Question) -> list[str]:
    against = [word for other in question.against for word in ("--against", other)]
    cutoff = [] if question.cutoff is None else ["--cutoff", str(question.cutoff)]
    return ["check", name, *against, *cutoff, *([] if question.near else ["--no-near"])]
