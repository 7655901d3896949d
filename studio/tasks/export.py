"""An export from its config to a verified folder: top to bottom."""

from __future__ import annotations

import importlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from studio.config.export import ExportConfig
from studio.config.workspace import OutsideWorkspace, Workspace
from studio.runs.atomic import read_json, write_json, write_text
from studio.runs.errors import RunError
from studio.runs.export_plan import ExportPlan, check_merges, check_room, plan_for
from studio.runs.export_subject import Subject, resolve
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec
from studio.tasks.exporting import hub
from studio.tasks.exporting.card import card
from studio.tasks.exporting.comparison import Comparison
from studio.tasks.exporting.placing import make_draft, publish
from studio.tasks.exporting.verification import verify
from studio.tasks.exporting.work import Work, Written
from studio.tasks.failures import TaskError
from studio.tasks.machine import detect
from studio.tasks.peak import peak_bytes
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag

FINISHED = 0

WRITERS: Mapping[str, str] = {
    "merged": "merged",
    "adapter": "adapter_only",
    "bitsandbytes": "bitsandbytes_saved",
    "gptq": "gptq",
    "gguf": "gguf_file",
}
"""The module under exporting/ of each format; its `write(work)` fills the draft."""

RESULTS = "results.json"

logger = logging.getLogger(__name__)


def run(folder: RunFolder, job: JobSpec, config: ExportConfig, reporter: Reporter, stop: StopFlag) -> int:
    """Export as `config` says and return the exit code. Started again, it begins anew: nothing half-made is kept.

    Raises TaskError, DataError and whatever the libraries raise; the caller explains it.
    """
    if _is_done(folder):
        with _plain_errors():
            _upload(config, Path(str(_results(folder)["folder"])), folder, reporter)
        reporter.phase("finished", "the export stands already")
        return FINISHED
    root = folder.path.resolve().parent.parent
    workspace = Workspace(root, (Path(root.anchor),))  # what a page may name was checked when it was submitted
    with _plain_errors():
        hub.check_token(config.destination.hub_id)
        writer = importlib.import_module(f"studio.tasks.exporting.{WRITERS[config.format.type]}")
        found = resolve(workspace, config.subject)
        check_merges(config.format, found)
        subject = _at_hand(found, config, folder, reporter)
        todo = plan_for(workspace, config, folder.name, subject)
        check_room(todo)
        getattr(writer, "check", _nothing)(workspace, config, subject)
        for note in subject.notes:
            reporter.notice(note)
        draft, scratch = make_draft(todo.destination, folder.name)
        try:
            work = Work(workspace, config, subject, draft, scratch, detect(config.devices.use), reporter)
            results = _make(work, writer.write(work), todo, folder)
            # First the results: an attempt that is killed right after the rename is then known to have ended well.
            write_json(folder.path / RESULTS, results)
            publish(draft, todo.destination, overwrite=config.destination.overwrite)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            shutil.rmtree(scratch, ignore_errors=True)
        _upload(config, todo.destination, folder, reporter)
    reporter.phase("finished", str(todo.destination))
    return FINISHED


def _make(work: Work, written: Written, todo: ExportPlan, folder: RunFolder) -> dict[str, Any]:
    """Verify the draft and put the card and the results into it. Raises TaskError when it is not what it should be."""
    peak = peak_bytes()
    comparison, reason = verify(work, written, todo.verify_memory)
    results = {
        "name": todo.destination.name,
        "folder": str(todo.destination),
        "format": work.config.format.model_dump(mode="json"),
        "base": work.subject.base,
        "adapters": [folder.name for folder in work.subject.adapters],
        "verdict": comparison.verdict if comparison else "not compared",
        "reason": comparison.reason if comparison else "",
        "not_compared": reason,
        "comparison": comparison.record() if comparison else None,
        "size_bytes": RunFolder(work.draft).size_bytes(),
        "planned": {key: value for key, value in asdict(todo).items() if key != "destination"},
        "peak_memory_bytes": peak,
        **written.facts,
    }
    _say(work.reporter, comparison, reason)
    if comparison is not None and comparison.verdict == "bad" and written.exact:
        write_json(folder.path / RESULTS, results)
        raise TaskError(
            "verification",
            f"The export is not the tuned model: {comparison.reason}",
            "Nothing was put in place. The numbers are in results.json of this run; export again with "
            "format.dtype=float32, or report it with the adapter's settings.",
        )
    write_text(work.draft / "README.md", card(work.config, work.subject, results, comparison), durable=False)
    write_json(work.draft / "export.json", results, durable=False)
    return results


def _say(reporter: Reporter, comparison: Comparison | None, reason: str) -> None:
    if comparison is None:
        reporter.notice(reason)
        return
    logger.info("%s", comparison)
    if comparison.verdict != "good":
        reporter.notice(f"The export is {comparison.verdict}. {comparison.reason}")


def _at_hand(subject: Subject, config: ExportConfig, folder: RunFolder, reporter: Reporter) -> Subject:
    """The subject with its base on the disk: one on a hub is fetched first."""
    if subject.base_folder is not None:
        return subject
    reporter.phase("fetching model", subject.base)
    base = hub.fetch(subject.base, config.subject.hub, config.subject.revision, folder.path)
    return replace(subject, base_folder=base, tokenizer_folder=subject.tokenizer_folder or base)


def _upload(config: ExportConfig, place: Path, folder: RunFolder, reporter: Reporter) -> None:
    if config.destination.hub_id is None:
        return
    reporter.phase("uploading", config.destination.hub_id)
    address = hub.push(place, config.destination.hub_id, config.destination.private, folder.path)
    reporter.notice(f"Uploaded to {address}")


def _is_done(folder: RunFolder) -> bool:
    """Whether an earlier attempt of this run has put its export in place: it is the one that the results name."""
    results = _results(folder)
    return bool(results) and read_json(Path(str(results.get("folder"))) / "export.json") == results


def _results(folder: RunFolder) -> dict[str, Any]:
    value = read_json(folder.path / RESULTS)
    return value if isinstance(value, dict) else {}


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Errors of the layers below as the job's own: their texts say what is wrong and the way out."""
    try:
        yield
    except (RunError, OutsideWorkspace) as error:
        raise TaskError("export", str(error)) from error


def _nothing(workspace: Workspace, config: ExportConfig, subject: Subject) -> None:
    """The further checks of a format that has none."""
