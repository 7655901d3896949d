"""What an export would meet, said before it starts: what it is about, room on the disk, memory, engines, quality."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from studio.config.export import GGUF_K, Bitsandbytes, ExportConfig, Gguf, Gptq
from studio.config.workspace import OutsideWorkspace, Workspace
from studio.runs.artifacts import BadArtifact, StoredTensor, model_tensors
from studio.runs.devices import machine_facts
from studio.runs.engines import MARK, look
from studio.runs.export_plan import (
    DestinationTaken,
    ExportPlan,
    GroupsDoNotFit,
    NothingToMerge,
    check_groups,
    check_merges,
    plan_for,
)
from studio.runs.export_results import earlier_loss
from studio.runs.export_subject import TOKENIZER_FILES, Subject, resolve
from studio.runs.folder import RunFolder

Part = Literal["subject", "format", "destination", "checks"]
Severity = Literal["good", "hint", "fault"]

TOKEN = "HF_TOKEN"
SMALL_PARAMETERS = 1_000_000_000
"""Models below lose visibly at few bits; larger ones have more to spare."""

FEW_BITS = {"2": 31_600.0, "3": 2.4}
"""So many times the perplexity had a model of 135 million parameters; measured, see bench/results/engines.md."""

ENGINE_OF_GPTQ = "gptq"
ENGINE_OF_GGUF = "llama-cpp"


@dataclass(frozen=True)
class Finding:
    """One thing to know. `code` names a sentence of the page, `values` what stands in it; sizes are in bytes.

    `said` is the sentence itself where another layer has written it; `command` is what mends it.
    """

    part: Part
    severity: Severity
    code: str
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    said: str = ""
    command: str = ""


@dataclass(frozen=True)
class Prospect:
    """Everything that is known beforehand; `datasets` are those that the job reads, which no one has looked at yet."""

    findings: tuple[Finding, ...]
    datasets: tuple[str, ...] = ()


def look_ahead(workspace: Workspace, config: ExportConfig, name: str) -> Prospect:
    """What the export `name` would meet. Reads headers of weights, changes nothing and never raises for bad input."""
    try:
        subject = resolve(workspace, config.subject)
        tensors = model_tensors(subject.base_folder) if subject.base_folder is not None else None
    except BadArtifact as error:
        return Prospect((Finding("subject", "fault", "said", said=str(error)),))
    about = list(_about(subject))
    try:
        todo = plan_for(workspace, config, name, subject)
    except DestinationTaken:
        text = config.destination.folder or f"exports/{name}"
        return Prospect((*about, Finding("destination", "fault", "taken", {"folder": text})))
    except OutsideWorkspace as error:
        return Prospect((*about, Finding("destination", "fault", "said", said=str(error))))
    parameters = sum(tensor.elements for tensor in tensors.values()) if tensors is not None else None
    found = [
        *about,
        *_place(workspace, config, todo),
        *_room(todo),
        *_memory(config, todo),
        *_engine(workspace, config),
        *_merges(config, subject),
        *_groups(config, tensors),
        *_calibration(config, subject),
        *_quality(workspace, config, subject, parameters),
        *_upload(config),
    ]
    return Prospect(tuple(found), _datasets(config, subject))


def _datasets(config: ExportConfig, subject: Subject) -> tuple[str, ...]:
    """Those to fit few bits to, which are measured on as well; else those to measure on, the held-back ones first."""
    run = subject.run.data if subject.run else None
    if isinstance(config.format, Gptq):
        return tuple(config.format.calibration or (run.datasets if run else ()))
    chosen = config.verification
    if not chosen.compare or not chosen.rows:
        return ()
    return tuple(chosen.datasets or ((run.validation_datasets or run.datasets) if run else ()))


def _about(subject: Subject) -> Iterator[Finding]:
    names = " → ".join([subject.base, *(_short(str(folder)) for folder in subject.adapters)])
    if subject.base_folder is None:
        yield Finding("subject", "hint", "from_hub", {"model": subject.base})
    else:
        yield Finding("subject", "good", "made_of", {"parts": names})
    for note in subject.notes:
        yield Finding("subject", "hint", "said", said=note)
    folders = [folder for folder in (subject.tokenizer_folder, subject.base_folder) if folder is not None]
    if folders and not any((folder / name).is_file() for folder in folders for name in TOKENIZER_FILES):
        yield Finding("subject", "fault", "no_tokenizer", {"folder": str(folders[0])})


def _merges(config: ExportConfig, subject: Subject) -> Iterator[Finding]:
    try:
        check_merges(config.format, subject)
    except NothingToMerge as error:
        yield Finding("format", "fault", "said", said=str(error))


def _groups(config: ExportConfig, tensors: Mapping[str, StoredTensor] | None) -> Iterator[Finding]:
    try:
        check_groups(config.format, (tensors or {}).values())
    except GroupsDoNotFit as error:
        yield Finding("format", "fault", "said", said=str(error))


def _short(folder: str) -> str:
    """The last words of a path, from saves/ on where it lies there."""
    before, sign, behind = folder.rpartition("/saves/")
    return f"saves/{behind}" if sign else before or folder.rpartition("/")[2]


def _place(workspace: Workspace, config: ExportConfig, todo: ExportPlan) -> Iterator[Finding]:
    inside = todo.destination.is_relative_to(workspace.root)
    shown = str(todo.destination.relative_to(workspace.root) if inside else todo.destination)
    if todo.destination.exists():
        size = RunFolder(todo.destination).size_bytes()
        yield Finding("destination", "hint", "replaces", {"folder": shown, "size": size})
    else:
        yield Finding("destination", "good", "lies", {"folder": shown})


def _room(todo: ExportPlan) -> Iterator[Finding]:
    if todo.size is None or todo.needed is None:
        yield Finding("checks", "hint", "unknown_size", {"free": todo.free})
        return
    yield Finding("checks", "good", "size", {"size": todo.size})
    numbers = {"needed": todo.needed, "free": todo.free}
    fits = todo.needed <= todo.free
    yield Finding("checks", "good" if fits else "fault", "room" if fits else "no_room", numbers)


def _memory(config: ExportConfig, todo: ExportPlan) -> Iterator[Finding]:
    """A swap may save an export that is too large, so it is warned of and not refused."""
    free = machine_facts().memory_available
    if todo.memory is not None:
        fits = todo.memory <= free
        numbers = {"memory": todo.memory, "free": free}
        yield Finding("checks", "good" if fits else "hint", "memory" if fits else "much_memory", numbers)
    if not config.verification.compare:
        yield Finding("checks", "hint", "not_compared")
    elif todo.verify_memory is not None:
        fits = todo.verify_memory <= free
        numbers = {"memory": todo.verify_memory, "free": free}
        yield Finding("checks", "good" if fits else "hint", "compared" if fits else "compare_memory", numbers)


def _engine(workspace: Workspace, config: ExportConfig) -> Iterator[Finding]:
    """An engine that the format cannot do without, and the one that would verify a GGUF file by its own runtime."""
    target = config.format
    if isinstance(target, Gptq):
        name, needed = ENGINE_OF_GPTQ, True
    elif isinstance(target, Gguf):
        name, needed = ENGINE_OF_GGUF, target.quantization in GGUF_K
    else:
        return
    values = {"engine": name}
    if _is_ready(workspace, name, _made(workspace.engines / name / MARK)):
        yield Finding("checks", "good", "engine", values)
        return
    code = "no_engine" if needed else "engine_optional"
    command = f"studio engines install {name}"
    yield Finding("checks", "fault" if needed else "hint", code, values, command=command)


@lru_cache(maxsize=16)
def _is_ready(workspace: Workspace, name: str, _made: int) -> bool:
    """Looking measures an environment of tens of thousands of files, which takes seconds: done once for each."""
    return look(workspace, name).ready


def _made(mark: Path) -> int:
    try:
        return mark.stat().st_mtime_ns
    except OSError:
        return 0


def _calibration(config: ExportConfig, subject: Subject) -> Iterator[Finding]:
    if not isinstance(config.format, Gptq):
        return
    names = config.format.calibration or (subject.run.data.datasets if subject.run else [])
    if names:
        yield Finding("checks", "good", "calibration", {"names": ", ".join(names), "rows": config.format.rows})
    else:
        yield Finding("checks", "fault", "no_calibration")


def _quality(workspace: Workspace, config: ExportConfig, subject: Subject, parameters: int | None) -> Iterator[Finding]:
    """What was measured when this base went into this format before; else a warning for few bits of a small model."""
    if not isinstance(config.format, Gptq | Gguf | Bitsandbytes):
        return
    earlier = earlier_loss(workspace, subject.base, config.format)
    if earlier is not None:
        rise = 100 * (earlier.after / earlier.before - 1)
        values = {
            "run": earlier.run,
            "before": f"{earlier.before:.4g}",
            "after": f"{earlier.after:.4g}",
            "rise": f"{rise:+.1f}",
        }
        yield Finding("checks", "good" if rise < 10 else "hint", "measured", values)
        return
    bits = config.format.bits if isinstance(config.format, Gptq) else ""
    if bits in FEW_BITS and parameters is not None and parameters < SMALL_PARAMETERS:
        values = {"millions": f"{parameters / 1e6:,.0f}", "bits": bits, "times": f"{FEW_BITS[bits]:,g}"}
        yield Finding("checks", "hint", "small_few_bits", values)


def _upload(config: ExportConfig) -> Iterator[Finding]:
    if config.destination.hub_id is None:
        return
    values = {"hub_id": config.destination.hub_id, "token": TOKEN}
    if os.environ.get(TOKEN):
        yield Finding("checks", "good", "upload", values)
    else:
        yield Finding("checks", "fault", "no_token", values)
