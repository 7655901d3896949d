"""Datasets from Hugging Face, ModelScope and clouds: fetched once into the workspace's cache, whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.data.fetched import NOTE, NotFetched, is_fetched, read_note
from studio.data.registry import DatasetEntry, copy_of, find_entry, load_registry, locate
from studio.tasks.cloud_files import fetch_from_cloud
from studio.tasks.modelscope_files import fetch_from_modelscope
from studio.tasks.status import Reporter

Say = Callable[[str, int, int], None]  # what is fetched, bytes so far, bytes in all (0 where nobody knows)
Facts = Mapping[str, Any]


def fetch_missing(workspace: Workspace, names: Iterable[str], reporter: Reporter) -> None:
    """Fetch those of the named datasets that are not on this machine yet, as a phase of a job.

    Raises DataError for a dataset that cannot be had, saying why.
    """
    registry = load_registry(workspace)
    for name in names:
        try:
            locate(workspace, find_entry(registry, name))
        except NotFetched:
            reporter.phase("fetching data", name)
            fetch_dataset(workspace, name, lambda text, done, total: reporter.progress(done, total, message=text))
            reporter.notice(_noted(name, read_note(copy_of(workspace, find_entry(registry, name)))))


def fetch_dataset(workspace: Workspace, name: str, say: Say | None = None) -> Path:
    """The file or folder of a dataset, fetched first when it is not here. Another process that fetches it is waited
    for; what a killed one had is gone on with. Raises DataError for a dataset that cannot be had, saying why."""
    entry = find_entry(load_registry(workspace), name)
    try:
        return locate(workspace, entry)
    except NotFetched:
        target = copy_of(workspace, entry)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.part")
    with target.with_name(f".{target.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not is_fetched(target):
            work.mkdir(exist_ok=True)
            facts = _fetch(workspace, entry, work, say or _silence)
            _finish(work, target, {**facts, "subset": entry.subset, "split": entry.split, "folder": entry.folder})
    return target


def _fetch(workspace: Workspace, entry: DatasetEntry, work: Path, say: Say) -> Facts:
    """Put the rows into work/rows from the first source that gives them; what is to be noted about it."""
    reasons: list[str] = []
    for key, fetch in _in_order(workspace, entry):
        place = entry.sources[key]
        try:
            return {"source": key, "place": place, **fetch(place, entry, work, say)}
        except DataError as error:
            reasons.append(f"{key} {place}: {error}")
    raise DataError(f"The dataset {entry.name!r} cannot be fetched. " + " ".join(reasons))


def _in_order(workspace: Workspace, entry: DatasetEntry) -> list[tuple[str, Callable[..., Facts]]]:
    """The sources of an entry: ModelScope first for those who ask for it as they would LLaMA-Factory."""
    hubs: list[tuple[str, Callable[..., Facts]]] = [("hf_hub_url", _from_huggingface), ("ms_hub_url", _from_modelscope)]
    if os.environ.get("USE_MODELSCOPE_HUB", "0").lower() in ("1", "true", "yes", "y"):
        hubs.reverse()
    cloud = partial(_from_cloud, workspace)
    return [(key, fetch) for key, fetch in [*hubs, ("cloud_file_name", cloud)] if key in entry.sources]


def _from_huggingface(place: str, entry: DatasetEntry, work: Path, say: Say) -> Facts:
    """Files come through huggingface_hub's own cache, which goes on with a download that was cut off."""
    from huggingface_hub import HfApi

    say(f"{entry.name}: looking it up", 0, 0)
    with _explained("Check the id, the network (HF_ENDPOINT names a mirror) and, for a private set, HF_TOKEN."):
        revision = HfApi().dataset_info(place).sha
        say(f"{entry.name}: fetching", 0, 0)
        rows = _write_parquet(place, entry, work, revision=revision)
    return {"revision": revision, "rows": rows}


def _from_modelscope(place: str, entry: DatasetEntry, work: Path, say: Say) -> Facts:
    with _explained("Check the id, the network (MODELSCOPE_DOMAIN names another site) and MODELSCOPE_API_TOKEN."):
        files = work / "files"
        revision = fetch_from_modelscope(place, files, entry.folder, partial(say, f"{entry.name}: fetching"))
        rows = _write_parquet(str(files), entry, work)
    return {"revision": revision, "rows": rows}


def _from_cloud(workspace: Workspace, place: str, entry: DatasetEntry, work: Path, say: Say) -> Facts:
    with _explained("Check the address, the network and your credentials in the environment."):
        mark = fetch_from_cloud(workspace, place, work / "rows", partial(say, f"{entry.name}: fetching"))
    return {"revision": mark}


def _write_parquet(place: str, entry: DatasetEntry, work: Path, **options: Any) -> int:
    """The rows of a subset and split of a hub's dataset, or of a folder laid out like one, as a parquet file."""
    import datasets

    library: Any = datasets  # its types are only half there
    scratch = work / "arrow"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        builder = library.load_dataset_builder(
            place, name=entry.subset, data_dir=entry.folder, cache_dir=str(scratch), **options
        )
        files = builder.config.data_files
        if files and entry.split in files:  # or it would fetch and convert the other splits too
            builder.config.data_files = type(files)({entry.split: files[entry.split]})
        builder.download_and_prepare(verification_mode="no_checks")  # its own checks want every split
        data = builder.as_dataset(split=entry.split)
        (work / "rows").mkdir(exist_ok=True)
        data.to_parquet(str(work / "rows" / "rows.parquet"))
        return int(data.num_rows)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _finish(work: Path, target: Path, facts: Facts) -> None:
    """Let the rows appear under their name in one step, with the note that says they are whole."""
    rows = work / "rows"
    (rows / NOTE).write_text(json.dumps({**facts, "time": time.time()}, indent=1, ensure_ascii=False), encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)  # without its note it is nothing
    rows.rename(target)
    shutil.rmtree(work)


@contextmanager
def _explained(advice: str) -> Generator[None]:
    """Whatever the hub's and the network's libraries raise, in one sentence; a full disk stays what it is."""
    import httpx
    from datasets.exceptions import DatasetsError

    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError, ImportError, httpx.HTTPError, httpx.InvalidURL, DatasetsError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(f"{_sentence(error)} {advice}") from error


def _sentence(error: Exception) -> str:
    """The first two lines of the error and, where it only says that something failed, of what it came from."""
    from datasets.exceptions import DatasetGenerationError

    texts = [str(error)]
    if isinstance(error, DatasetGenerationError) and error.__cause__ is not None:
        texts.append(str(error.__cause__))
    lines = [line.strip()[:300].rstrip(".:") for text in texts for line in text.split("\n") if line.strip()][:2]
    return f"{': '.join(lines) or type(error).__name__}."


def _noted(name: str, note: Facts) -> str:
    revision = f", revision {str(note['revision'])[:12]}" if note.get("revision") else ""
    return f"The dataset {name} was fetched from {note.get('place')}{revision}."


def _silence(text: str, done: int, total: int) -> None:
    """For those who do not want to hear how far it is."""
