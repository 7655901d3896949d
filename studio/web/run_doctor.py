"""What the numbers of a training run say, and the changes with which to try again: for the run's page."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from studio.config.leaves import Leaf, applies, leaves, value_at
from studio.config.train import TrainConfig
from studio.runs.course import findings_of, offer
from studio.runs.diagnosis import Finding
from studio.runs.folder import RunFolder
from studio.runs.states import ACTIVE, State
from studio.runs.store import Job
from studio.web.chart_places import title
from studio.web.curve_cache import CurveCache
from studio.web.run_detail import read_config
from studio.web.shown_values import to_shown
from studio.web.words import finding_messages, say

_MOST_RUNS = 64
FRESH_SHARE = 1.02
"""Findings are made anew when a run has so many times the rows that it had, or when it has ended."""


@dataclass
class RunDoctor:
    """Looks at runs, and remembers what it found until there is something new to see."""

    curves: CurveCache
    _known: OrderedDict[str, tuple[tuple[Any, ...], int, list[Finding]]] = field(
        default_factory=OrderedDict[str, tuple[tuple[Any, ...], int, list[Finding]]]
    )

    def look(self, language: str, job: Job, folder: RunFolder) -> dict[str, Any]:
        """`findings`, the worst first, each with its sentence and step, and `remedy`: changes by path, or None."""
        config = read_config(job, folder)
        if not isinstance(config, TrainConfig):
            return {"findings": [], "remedy": None}
        findings = self._findings(job, folder, config)
        messages = finding_messages(language)
        ended = job.state not in ACTIVE
        changes = offer(folder, config, findings) if ended and job.state is not State.QUEUED else {}
        return {
            "findings": [
                {
                    "code": one.code,
                    "severity": one.severity,
                    "step": one.step,
                    "chart": one.chart,
                    "text": _told(language, one, messages),
                }
                for one in findings
            ],
            "remedy": remedy_of(language, config, changes),
        }

    def _findings(self, job: Job, folder: RunFolder, config: TrainConfig) -> Sequence[Finding]:
        run = self.curves.run(folder)
        with run.lock:
            run.refresh()
            key, rows = (job.state, job.attempt, run.log.course, len(run.log.events)), run.log.rows
            known = self._known.get(job.name)
            if known is None or known[0] != key or rows > max(known[1] * FRESH_SHARE, known[1] + 1):
                known = (key, rows, findings_of(folder, run.log, config))
                self._known[job.name] = known
                while len(self._known) > _MOST_RUNS:
                    self._known.popitem(last=False)
        return known[2]


def remedy_of(language: str, config: TrainConfig, changes: dict[str, Any]) -> dict[str, Any] | None:
    """Changes as the page shows them (`text`) and as the form takes them (`values`, by leaf key)."""
    if not changes:
        return None
    # The type of a section may change too, so a setting is found by the path alone where it has no member.
    known = {leaf.path: leaf for leaf in leaves(TrainConfig) if applies(config, leaf)}
    values, named = dict[str, Any](), list[str]()
    for path, value in changes.items():
        leaf = known[path]
        values[leaf.key] = to_shown(leaf, value)
        before = _worded(language, leaf, value_at(config, leaf))
        named.append(f"{say(language, f'fields.{leaf.key}.label')} {before} → {_worded(language, leaf, value)}")
    return {"text": ", ".join(named), "values": values}


def _worded(language: str, leaf: Leaf, value: Any) -> str:
    """A value as a sentence names it."""
    return say(language, f"fields.{leaf.key}.options.{value}") if leaf.kind == "type" else str(to_shown(leaf, value))


def _told(language: str, finding: Finding, messages: Mapping[str, str]) -> str:
    """The sentence of a finding, with the curve called as in its chart."""
    key = finding.details.get("key")
    named = replace(finding, details={**finding.details, "key": title(language, key)}) if key else finding
    return named.sentence(messages)
