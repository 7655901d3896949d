"""The merged model as safetensors: streamed, or by peft for adapters that the stream does not know."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

from studio.config.export import Merged
from studio.runs.atomic import write_json
from studio.tasks.exporting.companions import check_vocabulary, copy_companions
from studio.tasks.exporting.lora import NotStreamable
from studio.tasks.exporting.merge import INPUT_EMBEDDINGS, Merging, merge_with_peft, open_merge
from studio.tasks.exporting.positions import trained_config
from studio.tasks.exporting.shards import GIGABYTE, write_model
from studio.tasks.exporting.work import Progress, Work, Written

ONE_FILE = 10**15  # bytes


def write(work: Work) -> Written:
    """Write the merged model into the draft. Raises TaskError, BadArtifact, OSError."""
    target = work.config.format
    assert isinstance(target, Merged)
    merging = prepare(work, target.dtype)
    begun = time.perf_counter()
    files = write_merged(work, merging, work.draft, int(target.shard_size * GIGABYTE), work.progress)
    facts = {
        "adapters_merged": len(work.subject.adapters),
        "files": len(files),
        "merge_seconds": round(time.perf_counter() - begun, 3),
    }
    return Written(exact=True, dtype=target.dtype, request={"folder": str(work.draft)}, facts=facts)


def prepare(work: Work, dtype: str) -> Merging:
    """The merge as a stream. Where only peft can merge, it does so into the scratch folder first, saying so."""
    assert work.subject.base_folder is not None
    work.reporter.phase("reading weights", work.subject.base)
    try:
        found = open_merge(work.subject.base_folder, work.subject.adapters, dtype, work.machine.device)
    except NotStreamable as reason:
        work.reporter.notice(
            f"The adapter is merged by peft with the whole model in memory, not as a stream: {reason}."
        )
        folder = work.scratch / "by-peft"
        merge_with_peft(work.subject, folder, dtype, work.machine.device)
        found = open_merge(folder, (), dtype, work.machine.device)
    return replace(found, config=trained_config(work.subject, found.config))


def write_merged(work: Work, merging: Merging, folder: Path, shard_bytes: int, progress: Progress) -> list[Path]:
    """Weights, config and companions into `folder`. Raises TaskError when the tokenizer does not belong to them."""
    copy_companions(work.subject, folder)
    check_vocabulary(folder, embedding_rows(merging))
    write_json(folder / "config.json", merging.model_config(), durable=False)
    work.reporter.phase("merging" if merging.adapters else "writing weights", folder.name)
    if merging.untied:
        work.reporter.notice(
            "The adapter changes one of the two embeddings that the base model keeps as one, so the export has both."
        )
    return write_model(folder, merging.outputs, merging.load, shard_bytes, progress)


def merged_folder(work: Work, dtype: str = "auto") -> Path:
    """The merged model as a folder on the way to another format: in the scratch folder."""
    merging = prepare(work, dtype)
    folder = work.scratch / "merged"
    folder.mkdir()
    write_merged(work, merging, folder, ONE_FILE, work.progress)
    shutil.rmtree(work.scratch / "by-peft", ignore_errors=True)
    return folder


def embedding_rows(merging: Merging) -> int:
    """How many tokens the model has embeddings for; more than any tokenizer has when its embedding is not known."""
    name = next((name for name in INPUT_EMBEDDINGS if f"{name}.weight" in merging.base), None)
    return merging.base[f"{name}.weight"].shape[0] if name else 2**31
