"""What adapters expect of their base beside its weights: positions stretched as in their run, and a tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from studio.runs.atomic import read_text
from studio.tasks.failures import TaskError
from studio.tasks.vocabulary import rows_needed

Arguments = dict[str, Any]


def model_section(folder: Path | None) -> dict[str, Any]:
    """The section model of the run from which a folder or a checkpoint comes; empty when it comes from elsewhere."""
    return _run_tree(folder).get("model") or {}


def merged_before(folder: Path | None) -> list[str]:
    """The adapters that the run merged into its base before it trained the one in `folder`, by their names there."""
    tree = _run_tree(folder)
    named = [str(path) for path in (tree.get("model") or {}).get("adapters") or []]
    method = tree.get("method")
    on_top = isinstance(method, dict) and bool(method.get("create_new_adapter"))
    return named if on_top else named[:-1]


def check_merged(folder: Path, merged: Sequence[str], field: str) -> None:
    """Raise TaskError when an adapter stands on others that `field`, whose value is `merged`, does not name."""
    before = merged_before(folder)
    if before and before != list(merged):
        raise TaskError(
            "adapter",
            f"The adapter in {folder} was trained on a base with {', '.join(before)} merged into it.",
            f"Set {field}=[{', '.join(before)}], so that they are merged here too.",
        )


def _run_tree(folder: Path | None) -> dict[str, Any]:
    for place in (folder, folder.parent) if folder is not None else ():
        text = read_text(place / "config.yaml")
        try:
            tree = yaml.safe_load(text) if text else None
        except yaml.YAMLError:
            tree = None
        if isinstance(tree, dict) and isinstance(tree.get("model"), dict):
            return tree
    return {}


def with_positions(arguments: Arguments, folders: Iterable[Path]) -> Arguments:
    """The model's arguments with its positions stretched as the runs of the adapters in `folders` had them.

    An adapter's own files do not say it; the config of its run does. Raises TaskError when they contradict each other.
    """
    folders = list(folders)
    found = {str(folder): _positions(model_section(folder)) for folder in folders if model_section(folder)}
    chosen = arguments["rope"] or next((rope for rope in found.values() if rope), None)
    for folder, rope in found.items():
        if rope != chosen:
            raise TaskError(
                "adapter",
                f"The adapter in {folder} was trained with {_spelt(rope)}, and the model would have {_spelt(chosen)}.",
                "Positions are those of one run: take its model settings, and use runs with other ones apart.",
            )
    return {**arguments, "rope": chosen}


def tokenizer_source(source: str, folders: Iterable[Path]) -> tuple[str, bool]:
    """Where the tokenizer lies: beside the adapter that brings tokens of its own, else in the base `source`.

    The second value says whether it is an adapter's. Raises TaskError when two adapters bring different tokens.
    """
    bringing = [folder for folder in folders if rows_needed(folder)]
    words = {tuple(model_section(folder).get("new_tokens") or ()) for folder in bringing}
    if len(words) > 1:
        raise TaskError(
            "tokenizer",
            f"Two adapters bring different new tokens: {', '.join(str(folder) for folder in bringing)}.",
            "They need different tokenizers: use them one by one.",
        )
    with_one = next((folder for folder in bringing if (folder / "tokenizer.json").is_file()), None)
    return (str(with_one), True) if with_one is not None else (source, False)


def check_continued(arguments: Arguments, folders: Iterable[Path]) -> None:
    """Raise TaskError when a run goes on with adapters that were trained with other positions or other new tokens."""
    for folder in folders:
        trained = model_section(folder)
        if not trained:
            continue
        words, own = list(trained.get("new_tokens") or ()), list(arguments["new_tokens"])
        if _positions(trained) != arguments["rope"]:
            raise TaskError(
                "adapter",
                f"The adapter in {folder} was trained with {_spelt(_positions(trained))}.",
                "Set model.rope_scaling and model.rope_factor to the same.",
            )
        if own != words:
            raise TaskError(
                "adapter",
                f"The adapter in {folder} was trained with model.new_tokens=[{', '.join(words)}].",
                "Set model.new_tokens to the same. For further tokens, merge the adapter into a model first.",
            )


def _positions(model: dict[str, Any]) -> Arguments | None:
    kind = model.get("rope_scaling") or "none"
    return {"type": kind, "factor": float(model.get("rope_factor") or 2.0)} if kind != "none" else None


def _spelt(rope: Arguments | None) -> str:
    return f"model.rope_scaling={rope['type']} by {rope['factor']:g}" if rope else "model.rope_scaling=none"
