"""Exports as the page shows them: a line of the list, and one with its progress, its result and how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.config.leaves import applies, leaves
from studio.config.workspace import Workspace
from studio.runs.export_results import ExportResults, export_config, files, read_results, uses
from studio.runs.folder import RunFolder
from studio.runs.states import State
from studio.runs.store import Job
from studio.web.run_detail import detail
from studio.web.words import say

Shown = dict[str, Any]

CHANGED_ADVICE = frozenset({State.STOPPED})
"""States whose advice speaks of checkpoints, which an export has none of."""


def line(language: str, job: Job, folder: RunFolder) -> Shown:
    """One export in the list."""
    status, results = folder.status(), read_results(folder)
    failed = job.state in (State.FAILED, State.LOST)
    return {
        "name": job.name,
        "state": job.state.value,
        "held": job.held,
        "position": job.position,
        "cause": job.cause if failed else "",
        "phase": status.phase,
        "step": status.step,
        "total": status.total,
        "format": _format(language, folder),
        "verdict": results.verdict if results is not None and job.state is State.FINISHED else "",
        "size": results.size if results is not None and job.state is State.FINISHED else 0,
    }


def head(language: str, workspace: Workspace, job: Job, folder: RunFolder) -> Shown:
    """One export: what the Runs tab knows of it, with its result."""
    shown = detail(language, job, folder, ())
    for name in ("version", "clock", "checkpoints", "length", "events", "size"):
        shown.pop(name, None)
    if job.state in CHANGED_ADVICE:
        shown["advice"] = ""
        shown["cause"] = say(language, "page.export.cancelled") if shown["cause"] else ""
    results = read_results(folder)
    done = job.state is State.FINISHED
    stands = results is not None and results.stands
    shown["actions"] = [action for action in shown["actions"] if _offered(action, job.state, done and stands)]
    shown["format"] = _format(language, folder)
    shown["result"] = _result(language, workspace, results, done=done) if results is not None else None
    shown["run_size"] = folder.size_bytes()
    return shown


def _offered(action: str, state: State, stands: bool) -> bool:
    """An export cannot be paused, is killed only when asking did not help, and begins anew only where none stands."""
    if action == "kill":
        return state is State.STOPPING
    return action != "pause" and not (action == "resume" and stands)


def _format(language: str, folder: RunFolder) -> str:
    """What it becomes, in a few words: the chosen type and the first setting that only that type has."""
    config = export_config(folder)
    if config is None:
        return ""
    own = [leaf for leaf in leaves(type(config)) if applies(config, leaf) and leaf.section]
    chosen = next(leaf for leaf in own if leaf.kind == "type")
    value: Mapping[str, Any] = getattr(config, chosen.section).model_dump(mode="json")
    inner = next((leaf for leaf in own if leaf.section == chosen.section and leaf.variant is not None), None)
    title = say(language, f"fields.{chosen.key}.options.{value['type']}")
    return title if inner is None or value[inner.name] == "auto" else f"{title} {value[inner.name]}"


def _result(language: str, workspace: Workspace, results: ExportResults, *, done: bool) -> Shown:
    """Where it lies and how it compares; files and commands only of one that stands."""
    inside = results.folder.is_relative_to(workspace.root)
    stands = results.stands and done
    return {
        "folder": str(results.folder),
        "shown_folder": str(results.folder.relative_to(workspace.root) if inside else results.folder),
        "verdict": results.verdict,
        "reason": results.reason,
        "not_compared": results.not_compared,
        "comparison": dict(results.comparison),
        "size": results.size,
        "peak_memory": results.peak_memory,
        "runtime": results.runtime,
        "stands": stands,
        "files": files(results.folder) if stands else [],
        "uses": [{"code": use.code, "text": use.text} for use in uses(workspace, results)] if stands else [],
    }
