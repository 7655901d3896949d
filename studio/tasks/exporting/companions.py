"""What lies beside the weights of an export: tokenizer, chat template, generation config, licence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from studio.runs.atomic import read_json, write_json, write_text
from studio.runs.export_subject import TOKENIZER_FILES, Subject
from studio.tasks.failures import TaskError
from studio.tasks.templates import read_template

_TOKENIZER = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja",
)  # fmt: skip
_OF_THE_BASE = ("generation_config.json", "preprocessor_config.json", "processor_config.json")
_LEGAL = ("LICENSE*", "NOTICE*", "USE_POLICY*")


def template_of(subject: Subject) -> str:
    """The text of the chat template that the export carries; empty when there is none."""
    if subject.template != "auto":
        return read_template(subject.template)
    folder = tokenizer_folder(subject)
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    own = tokenizer_settings(folder).get("chat_template")
    if isinstance(own, list):  # several by name
        own = next((entry.get("template") for entry in own if entry.get("name") == "default"), None)
    return own if isinstance(own, str) else ""


def tokenizer_folder(subject: Subject) -> Path:
    """Where the tokenizer lies. Raises TaskError when there is none."""
    for folder in (subject.tokenizer_folder, subject.base_folder):
        if folder is not None and any((folder / name).is_file() for name in TOKENIZER_FILES):
            return folder
    place = subject.tokenizer_folder or subject.base_folder
    raise TaskError(
        "tokenizer",
        f"There is no tokenizer in {place}: neither tokenizer.json nor tokenizer.model.",
        "Copy the tokenizer files of the model into that folder: an export without them could not be used.",
    )


def tokenizer_settings(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, empty when absent."""
    value = read_json(folder / "tokenizer_config.json")
    return value if isinstance(value, dict) else {}


def copy_companions(subject: Subject, target: Path) -> None:
    """Copy them into `target`, the chat template that was trained with in the place of any other. Raises TaskError."""
    source = tokenizer_folder(subject)
    for name in _TOKENIZER:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    if subject.base_folder is not None:
        for name in _OF_THE_BASE:
            if (subject.base_folder / name).is_file():
                shutil.copyfile(subject.base_folder / name, target / name)
        for pattern in _LEGAL:
            for file in subject.base_folder.glob(pattern):
                shutil.copyfile(file, target / file.name)
    template = template_of(subject)
    if template:
        write_text(target / "chat_template.jinja", template, durable=False)
        settings = tokenizer_settings(target)
        if settings.pop("chat_template", None) is not None:  # two that differ would be a trap
            write_json(target / "tokenizer_config.json", settings, durable=False)


def check_vocabulary(folder: Path, rows: int) -> None:
    """Raise TaskError when the tokenizer in `folder` has ids for which the embedding has no row."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        ids = [entry["id"] for entry in tree.get("added_tokens", [])]
        vocabulary = tree["model"].get("vocab", {})
        ids += list(vocabulary.values()) if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TaskError("tokenizer", f"{file} is damaged.", "Copy it again from the model.") from None
    if ids and max(ids) >= rows:
        raise TaskError(
            "tokenizer",
            f"The tokenizer knows {max(ids) + 1:,} tokens, but the model only has {rows:,} embeddings.",
            "They do not belong together: copy the model's own tokenizer files into its folder.",
        )


def end_ids(folder: Path) -> list[int]:
    """The ids that end an answer, as generation_config.json and config.json name them."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        value = read_json(folder / name)
        ends = value.get("eos_token_id") if isinstance(value, dict) else None
        found |= {end for end in (ends if isinstance(ends, list) else [ends]) if isinstance(end, int)}
    return sorted(found)
