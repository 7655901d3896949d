"""Who is evaluated: the base, adapters that are switched on it, and whole models of their own."""

from __future__ import annotations

import gc
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.config.workspace import Workspace
from studio.runs.adapters import adapter_kind, is_soft_prompt
from studio.runs.atomic import read_text
from studio.runs.checkpoints import newest_complete
from studio.runs.evaluation_results import BASE
from studio.runs.folder import RunFolder
from studio.tasks.adapter import Arguments, Unfit, load
from studio.tasks.adapter import merged as merged_into
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine
from studio.tasks.model import load_model, load_tokenizer
from studio.tasks.soft_prompt import SoftPrompt, read_soft_prompt
from studio.tasks.trained_on import merged_before, model_section, tokenizer_source, with_positions
from studio.tasks.vocabulary import rows_needed
from studio.tasks.weights import check_file, check_weights

Notice = Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """One model to evaluate. `name` as the user wrote it; a base has no folder."""

    name: str
    kind: Literal["base", "adapter", "model"]
    folder: Path | None = None

    def template(self) -> str:
        """The chat template that was saved with the weights, "" for none."""
        return read_text(self.folder / "chat_template.jinja") if self.folder else ""


@dataclass(frozen=True)
class Seat:
    """A candidate that is ready to answer."""

    candidate: Candidate
    model: Any
    tokenizer: Any
    front: SoftPrompt | None = None

    @property
    def places(self) -> int:
        """How many places of the context its soft prompt takes."""
        return self.front.places if self.front else 0


def find_candidates(base: bool, paths: Sequence[str], workspace: Workspace, notice: Notice) -> list[Candidate]:
    """The candidates by what the config names: the base first, then adapters, then whole models.

    Raises TaskError for a folder that holds neither, and for damaged weights.
    """
    found = [_find(path, workspace, notice) for path in dict.fromkeys(paths)]
    first = [Candidate(BASE, "base")] if base else []
    # Those that let the embeddings grow come behind those that do not, which would see the further rows.
    return [*first, *sorted(found, key=lambda one: (one.kind, rows_needed(one.folder) if one.folder else 0))]


def _find(path: str, workspace: Workspace, notice: Notice) -> Candidate:
    folder = (workspace.root / Path(path).expanduser()).resolve()
    if (folder / "adapter_config.json").is_file():
        check_file(folder / "adapter_model.safetensors")
        return Candidate(path, "adapter", folder)
    if (folder / "config.json").is_file():
        check_weights(folder)
        return Candidate(path, "model", folder)
    newest = newest_complete(RunFolder(folder))
    if newest is not None:
        notice(f"{path} has no result yet, so its newest checkpoint {newest.name} is evaluated.")
        found = _find(str(newest.path), workspace, notice)
        return Candidate(f"{path.rstrip('/')}/{newest.name}", found.kind, found.folder)
    raise TaskError(
        "candidates",
        f"There is neither an adapter nor a model in {path}.",
        "Set candidates.runs to runs that finished, to their checkpoints, or to folders with adapter_config.json.",
    )


def check_origin(candidate: Candidate, model_path: str, merged: Sequence[str], notice: Notice) -> None:
    """Hold a run's own config against the base that it is to be laid on.

    Raises TaskError when the run was trained on further adapters, which must then be merged here too.
    """
    tree = model_section(candidate.folder)
    trained_on, before = tree.get("path"), merged_before(candidate.folder)
    if trained_on and trained_on != model_path:
        notice(f"{candidate.name} was trained on {trained_on} and is evaluated on {model_path}.")
    if before and before != list(merged):
        raise TaskError(
            "candidates",
            f"{candidate.name} was trained on a base with {', '.join(before)} merged into it.",
            f"Set candidates.merged=[{', '.join(before)}], so that they are merged here too.",
        )


def seats(
    candidates: Sequence[Candidate],
    source: str,
    merged: Sequence[Path],
    arguments: Arguments,
    quantization: Arguments,
    machine: Machine,
) -> Iterator[Seat]:
    """Each candidate when its turn comes. The base is loaded once, before it is wrapped for the first adapter; whole
    models come when it is gone. Raises TaskError when weights do not fit."""
    model: Any = None
    for number, candidate in enumerate(candidates):
        if candidate.kind == "model":
            model = None
            gc.collect()
            own = {**arguments, "revision": None, "rope": None}  # its own config.json says how it was stretched
            folder = str(candidate.folder)
            yield Seat(candidate, load_model(folder, own, quantization, machine).eval(), load_tokenizer(folder, own))
            continue
        if model is None:
            folders = [one.folder for one in candidates if one.kind == "adapter" and one.folder is not None]
            stretched = with_positions(arguments, [*merged, *folders])
            model = merged_into(load_model(source, stretched, quantization, machine), merged)
        front: SoftPrompt | None = None
        if candidate.folder is not None:
            model = _ready_for(model, adapter_kind(candidate.folder))
            if is_soft_prompt(candidate.folder):
                front = _front(model, candidate, candidate.folder)
            else:
                model = _with_adapter(model, candidate, f"candidate{number}")
        yield Seat(candidate, model.eval(), _tokenizer(candidate, source, merged, arguments), front)


def _tokenizer(candidate: Candidate, source: str, merged: Sequence[Path], arguments: Arguments) -> Any:
    """The tokenizer of the base, or that of an adapter which brings tokens of its own."""
    own = [candidate.folder] if candidate.folder is not None else []
    place, brought = tokenizer_source(source, [*merged, *own])
    return load_tokenizer(place, {**arguments, "revision": None} if brought else arguments)


def _ready_for(model: Any, kind: str) -> Any:
    """The model without its adapters when they are of another kind than `kind`: peft mixes none."""
    kinds = {config.peft_type.value for config in getattr(model, "peft_config", {}).values()}
    return model if kinds <= {kind} else model.unload()


def _front(model: Any, candidate: Candidate, folder: Path) -> SoftPrompt:
    try:
        return read_soft_prompt(model, folder)
    except Unfit as error:
        raise misfit(candidate.name, error.reason) from error


def _with_adapter(model: Any, candidate: Candidate, name: str) -> Any:
    """The model with the candidate's adapter as the only active one."""
    if candidate.folder is None:
        return model
    try:
        model = load(model, candidate.folder, name, float32=False)
    except Unfit as error:
        raise misfit(candidate.name, error.reason) from error
    _check_loaded(model, candidate, name)
    model.set_adapter(name)
    return model


def misfit(name: str, reason: str) -> TaskError:
    """The failure of an adapter of another model."""
    return TaskError(
        "candidates",
        f"The adapter {name} does not fit this base model: {reason}",
        "Set model.path to the model that the adapter was trained on.",
    )


def _check_loaded(model: Any, candidate: Candidate, name: str) -> None:
    """Raise TaskError when the file has weights for which the model has no place: peft leaves them out in silence."""
    from peft import get_peft_model_state_dict

    if candidate.folder is None:
        return
    held = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    lost = [key for key in _tensor_names(candidate.folder / "adapter_model.safetensors") if key not in held]
    lost = [key for key in lost if "lora_" in key]
    if lost:
        raise misfit(candidate.name, f"{len(lost)} of its weights have no place in it, such as {lost[0]}.")


def _tensor_names(file: Path) -> list[str]:
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        return [key for key in json.loads(stream.read(length)) if key != "__metadata__"]
