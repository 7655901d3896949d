"""From the words under `subject` to what lies on the disk: base model, adapters in order, tokenizer, chat template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from studio.config.export import SubjectConfig
from studio.config.faults import ConfigError
from studio.config.io import load_config
from studio.config.method import ROUTED_SIDECAR
from studio.config.train import TrainConfig
from studio.config.workspace import OutsideWorkspace, Workspace
from studio.runs.adapters import gives_scores
from studio.runs.artifacts import BadArtifact, read_header
from studio.runs.atomic import read_json

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")


@dataclass(frozen=True)
class Subject:
    """What is exported.

    `base` is how the user names the base model, `base_folder` where it lies, None as long as it is on a hub. `template`
    is the name of a chat template, auto for the tokenizer's own. `run` is the config of the training run, if it is one.
    """

    base: str
    base_folder: Path | None
    adapters: tuple[Path, ...]
    tokenizer_folder: Path | None
    template: str
    notes: tuple[str, ...] = ()
    run: TrainConfig | None = None


def resolve(workspace: Workspace, subject: SubjectConfig) -> Subject:
    """What the words mean.

    Raises BadArtifact when something is missing, damaged, does not belong together, or cannot be exported at all.
    """
    extra = tuple(adapter_folder(workspace, text) for text in subject.adapters)
    found = _from_run(workspace, subject, extra) if subject.run else _from_model(workspace, subject, extra)
    _check_plain(found)
    for folder in (found.base_folder, *found.adapters):
        _check_writes(folder)
    for folder in found.adapters:
        _check_base(found, folder)
        _check_mergeable(folder)
    return found


def _from_model(workspace: Workspace, subject: SubjectConfig, adapters: tuple[Path, ...]) -> Subject:
    base = subject.base or ""
    folder = model_folder(workspace, base)
    return Subject(base, folder, adapters, folder, subject.chat_template)


def _from_run(workspace: Workspace, subject: SubjectConfig, extra: tuple[Path, ...]) -> Subject:
    text = subject.run or ""
    place = _inside(workspace, text)
    if not place.is_dir() and (workspace.saves / text).is_dir():
        place = _inside(workspace, str(workspace.saves / text))
    root = place if (place / "config.yaml").is_file() else place.parent
    if not place.is_dir() or not (root / "config.yaml").is_file():
        raise BadArtifact(f"There is no run {text}. Name one such as saves/my-run or saves/my-run/checkpoint-60.")
    try:
        run = load_config(root / "config.yaml")
    except ConfigError as error:
        raise BadArtifact(f"{root / 'config.yaml'} is no config of a training run: {error}") from None
    template = run.model.chat_template if subject.chat_template == "auto" else subject.chat_template
    tokenizer = next((folder for folder in (place, root) if _has_tokenizer(folder)), None)
    if (place / ADAPTER_CONFIG).is_file():
        chain = [adapter_folder(workspace, path) for path in run.merged_adapters]
        base = model_folder(workspace, run.model.path)
        adapters = (*chain, adapter_folder(workspace, str(place)), *extra)
        return Subject(run.model.path, base, adapters, tokenizer or base, template, _notes(run), run)
    if (place / "config.json").is_file():
        shown = str(place.relative_to(workspace.root)) if workspace.root in place.parents else text
        return Subject(shown, place, extra, tokenizer, template, (), run)
    raise BadArtifact(f"{text} holds neither a model nor an adapter yet. Choose one of its checkpoints or another run.")


def _notes(run: TrainConfig) -> tuple[str, ...]:
    if run.quantization.type == "none":
        return ()
    return (
        f"The adapter was trained on weights in {run.quantization.type}; it is merged into the full-precision base, "
        "which differs a little from what it saw.",
        *(
            ("It began with what 4 bits lose (loftq), which the full-precision base has not lost: the two add up.",)
            if getattr(run.method, "start", "") == "loftq"
            else ()
        ),
    )


def model_folder(workspace: Workspace, text: str) -> Path | None:
    """The folder of a model, or None when the words can only be an id on a hub. Raises BadArtifact."""
    folder = (workspace.root / Path(text).expanduser()).resolve()
    if folder.is_dir():
        return folder
    if text.startswith(("/", ".", "~", "models/", "saves/", "exports/")) or text.count("/") != 1:
        raise BadArtifact(
            f"There is no model folder {text}. Name a folder that holds config.json and safetensors files, or an id "
            "such as owner/name."
        )
    return None


def adapter_folder(workspace: Workspace, text: str) -> Path:
    """The folder of an adapter, its files checked for their lengths. Raises BadArtifact."""
    folder = (workspace.root / Path(text).expanduser()).resolve()
    if not (folder / ADAPTER_CONFIG).is_file():
        raise BadArtifact(
            f"There is no adapter in {text}. Name a folder that holds {ADAPTER_CONFIG}, such as a run or a checkpoint."
        )
    adapter_config(folder)
    read_header(folder / ADAPTER_WEIGHTS)
    return folder


def adapter_config(folder: Path) -> dict[str, Any]:
    """adapter_config.json as it is. Raises BadArtifact when it is damaged."""
    value = read_json(folder / ADAPTER_CONFIG)
    if not isinstance(value, dict) or "peft_type" not in value:
        raise BadArtifact(f"{folder / ADAPTER_CONFIG} is damaged. Choose another checkpoint.")
    return cast("dict[str, Any]", value)


def held_bits(settings: Mapping[str, Any]) -> str:
    """To how many bits BitLoRA holds the matrices of an adapter with these settings; "" for other adapters."""
    return settings.get("bitlora", {}).get("bits", "")


def _check_plain(subject: Subject) -> None:
    """What routed layers do is in no format: other programs would read the weights and compute every token."""
    if subject.base_folder is not None and (subject.base_folder / ROUTED_SIDECAR).is_file():
        raise BadArtifact(
            f"{subject.base} is a Mixture-of-Depths model, which no export can hold: other programs do not know that "
            "its layers pass tokens by. Use it as it is, in the chat and in evaluations; or train again with "
            "method.type=full."
        )


def _check_writes(folder: Path | None) -> None:
    """An export is compared by the words that it writes, and a reward model has a head for points in their place."""
    if folder is not None and gives_scores(folder):
        raise BadArtifact(
            f"A reward model lies in {folder}: it gives points and writes no words, and no export holds that. Name it "
            "as stage.reward_model of ppo, grpo and rloo, where it is used as it lies."
        )


def _check_mergeable(folder: Path) -> None:
    """Every format is made of weights, and what some adapters do is not in the weights."""
    if adapter_config(folder).get("bitlora", {}).get("quantize_activations"):
        raise BadArtifact(
            f"The adapter in {folder} is a BitLoRA adapter with quantized activations, which can be neither merged nor "
            "written as a plain LoRA: what it adds depends on the rounded input of each token and not only on the "
            "weights. Use it as it is, beside its base model, in the chat; or train it again with "
            "method.quantize_activations=false."
        )


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def _check_base(subject: Subject, folder: Path) -> None:
    """The last word of the base that the adapter names must be that of the model, as folders move and ids do not."""
    named = str(adapter_config(folder).get("base_model_name_or_path") or "")
    known = {Path(subject.base.rstrip("/")).name, subject.base_folder.name if subject.base_folder else ""}
    if named and subject.run is None and Path(named.rstrip("/")).name not in known:
        raise BadArtifact(
            f"The adapter in {folder} was trained on {named}, not on {subject.base}. Choose that base model."
        )


def _inside(workspace: Workspace, text: str) -> Path:
    try:
        return workspace.resolve(text)
    except OutsideWorkspace as error:
        raise BadArtifact(str(error)) from None
