"""The steps of the export wizard: which sections of the schema each shows, what it amounts to, and what stands in
its way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studio.config.io import differs
from studio.config.jobs import JobConfig
from studio.config.leaves import Leaf, applies, groups, leaves, value_at
from studio.runs.export_prospect import Finding
from studio.web.shown_values import to_shown
from studio.web.sizes import bytes_text
from studio.web.words import say

STEPS = ("what", "how", "where", "checks", "go")
PARTS = {"subject": 0, "format": 1, "destination": 2, "checks": 3}
"""The step that shows a finding."""

SIZES = ("size", "needed", "free", "memory")
Said = Mapping[str, Mapping[str, str]]


def sections_of(schema: type[JobConfig]) -> list[list[str]]:
    """The sections of each step: the first three have one each, the last has the last one and what stands alone."""
    names = [group.name for group in groups(schema)]
    return [[names[0]], [names[1]], [names[2]], names[3:-1], [names[-1], ""]]


def steps(
    language: str, schema: type[JobConfig], config: JobConfig | None, fields: Said, findings: Sequence[Finding]
) -> list[dict[str, Any]]:
    """Each step with `ready`, its summary in one line, and its findings; `fields` are the faults by the field's key."""
    section_of = {leaf.key: leaf.section for leaf in leaves(schema)}
    wrong = {section_of[key] for key, said in fields.items() if said["severity"] != "hint"}
    found: list[dict[str, Any]] = []
    for place, names in enumerate(sections_of(schema)):
        own = [finding for finding in findings if PARTS[finding.part] == place]
        ready = not wrong.intersection(names) and all(finding.severity != "fault" for finding in own)
        shown = [{"severity": one.severity, "text": sentence(language, one), "command": one.command} for one in own]
        summary = _summary(language, config, names, own) if config is not None else ""
        found.append({"ready": ready, "summary": summary, "findings": shown})
    return found


def sentence(language: str, finding: Finding) -> str:
    """A finding in words."""
    if finding.said:
        return finding.said
    values = {key: bytes_text(value) if key in SIZES else value for key, value in finding.values.items()}
    return say(language, f"page.export.findings.{finding.code}", **values)


def _summary(language: str, config: JobConfig, names: Iterable[str], findings: Sequence[Finding]) -> str:
    """The first finding of a step that has some, else what its settings say; and how many hints there are."""
    if not findings:
        own = [leaf for leaf in leaves(type(config)) if leaf.section in names and _worth_saying(config, leaf)]
        return " · ".join(_spelled(language, config, leaf) for leaf in own)
    hints = sum(finding.severity == "hint" for finding in findings)
    counted = [say(language, "page.export.hints", count=hints)] if hints else []
    return " · ".join([sentence(language, findings[0]).rstrip(".。"), *counted])


def _worth_saying(config: JobConfig, leaf: Leaf) -> bool:
    """The chosen type, the settings in sight that only it has, and whatever was changed."""
    if not leaf.section or not applies(config, leaf):
        return False
    value = value_at(config, leaf)
    if leaf.kind == "type" or differs(config, leaf):
        return True
    return leaf.variant is not None and not leaf.advanced and value not in (None, False, [], "")


def _spelled(language: str, config: JobConfig, leaf: Leaf) -> str:
    value = value_at(config, leaf)
    if leaf.kind == "type":
        return say(language, f"fields.{leaf.key}.options.{value}")
    label = say(language, f"fields.{leaf.key}.label")
    if leaf.kind == "flag":
        return label if value else f"{label}: –"
    lines = value if leaf.kind == "list" else [to_shown(leaf, value)]
    return f"{label} {', '.join(map(str, lines))}"
