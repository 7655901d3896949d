"""Reports on datasets, kept in the workspace's cache by what was checked: the files as they were, and the questions."""

from __future__ import annotations

import hashlib
import json
import secrets
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from studio.config.workspace import Workspace
from studio.data.check import Progress, check_dataset
from studio.data.examples import DataError
from studio.data.registry import DatasetEntry, find_entry, load_registry
from studio.data.report import Found, Report
from studio.data.token_reports import facts_of

REPORT, PROGRESS = "report.json", "progress.json"


@dataclass(frozen=True)
class Question:
    """What a check was asked: sets to compare with, a cutoff in tokens, whether near duplicates are looked for."""

    against: tuple[str, ...] = ()
    cutoff: int | None = None
    near: bool = True


def report_folder(workspace: Workspace, name: str, question: Question) -> Path:
    """Where the report on the dataset as it is now belongs: another file or mapping means another folder.

    A file counts as the same while its path, size and time of change are. Raises DataError for an unknown dataset.
    """
    registry = load_registry(workspace)
    others = [facts_of(workspace, find_entry(registry, other)) for other in sorted(question.against)]
    asked = _digest([others, question.cutoff, question.near])
    return dataset_folder(workspace, find_entry(registry, name)) / asked


def dataset_folder(workspace: Workspace, entry: DatasetEntry) -> Path:
    """The folder of all reports on one dataset as it is now."""
    return workspace.cache / "checks" / facts_of(workspace, entry)


def check_and_keep(workspace: Workspace, name: str, question: Question, progress: Progress | None = None) -> Report:
    """The report on a dataset, kept when it is done; meanwhile the folder says how many rows were read.

    `progress` hears the number of rows too. Raises DataError like `check_dataset`.
    """
    folder = report_folder(workspace, name, question)
    folder.mkdir(parents=True, exist_ok=True)

    def heard(rows: int) -> None:
        _write(folder / PROGRESS, json.dumps({"rows": rows}).encode())
        if progress is not None:
            progress(rows)

    report = check_dataset(
        workspace, name, against=question.against, cutoff=question.cutoff, near=question.near, progress=heard
    )
    keep(folder, question, report)
    return report


def keep(folder: Path, question: Question, report: Report) -> None:
    """Write a report and, beside it, the numbers of the rows of each finding: 8 bytes a row."""
    for kind, numbers in report.numbers.items():
        _write(folder / f"{kind}.rows", numbers.tobytes())
    value = {key: inner for key, inner in vars(report).items() if key not in ("numbers", "named")}
    named = {kind: [asdict(found) for found in places] for kind, places in report.named.items()}
    text = json.dumps({**value, "named": named, "question": asdict(question)}, ensure_ascii=False)
    _write(folder / REPORT, text.encode())


def kept_report(folder: Path) -> tuple[Question, Report] | None:
    """A report that was kept, with what was asked; None when there is none that can be read."""
    try:
        tree = cast("dict[str, Any]", json.loads((folder / REPORT).read_text(encoding="utf-8")))
        asked = tree.pop("question")
        question = Question(tuple(asked["against"]), asked["cutoff"], asked["near"])
        named = {kind: [Found(**place) for place in places] for kind, places in tree.pop("named").items()}
        counts, kinds, scripts = (Counter[str](tree.pop(key)) for key in ("counts", "kinds", "scripts"))
        report = Report(**tree, counts=counts, kinds=kinds, scripts=scripts, named=named)
        for kind in report.counts:
            report.numbers[kind] = _numbers(folder / f"{kind}.rows")
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # it can be made again
    return question, report


def newest_summary(workspace: Workspace, entry: DatasetEntry) -> Mapping[str, Any] | None:
    """Rows, usable rows and counts of the newest report on the dataset as it is now; None when it was not checked."""
    folder = _newest(workspace, entry)
    try:
        tree = json.loads((folder / REPORT).read_text(encoding="utf-8")) if folder else None
    except (OSError, ValueError):
        return None
    if not isinstance(tree, dict):
        return None
    kept = cast("dict[str, Any]", tree)
    return {key: kept.get(key) for key in ("rows", "usable", "counts", "broken_off")}


def newest_question(workspace: Workspace, entry: DatasetEntry) -> Question | None:
    """What was asked for the newest report on the dataset as it is now; None when it was not checked."""
    folder = _newest(workspace, entry)
    kept = kept_report(folder) if folder else None
    return kept and kept[0]


def _newest(workspace: Workspace, entry: DatasetEntry) -> Path | None:
    try:
        found = [(path.stat().st_mtime, path.parent) for path in dataset_folder(workspace, entry).glob(f"*/{REPORT}")]
    except (OSError, DataError):
        return None
    return max(found)[1] if found else None


def rows_read(folder: Path) -> int:
    """How far a running check is; 0 when it has not said so yet."""
    try:
        return int(json.loads((folder / PROGRESS).read_text(encoding="utf-8"))["rows"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0


def _numbers(path: Path) -> array[int]:
    numbers = array("Q")
    numbers.frombytes(path.read_bytes())
    return numbers


def _write(path: Path, content: bytes) -> None:
    """In one step; unforced, since a report that is lost can be made again."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]
