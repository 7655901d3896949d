"""What an export says of itself, for readers: verdict, comparison, files, and the commands that use it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.config.export import ExportConfig, Format
from studio.config.faults import ConfigError
from studio.config.io import command_of, parse
from studio.config.serve import ServeConfig
from studio.config.workspace import Workspace
from studio.runs.atomic import read_json
from studio.runs.configs import config_of
from studio.runs.folder import RunFolder
from studio.runs.records import Fields

RESULTS = "results.json"
CARD = "export.json"
"""Its twin in the exported folder."""

LARGEST_RESULTS = 64 * 1024
"""Bytes. Other kinds of job keep their results under the same name, and larger ones."""


@dataclass(frozen=True)
class ExportResults:
    """Results of one export. `size` in bytes; `comparison` holds what tasks/exporting/comparison.py records.

    `stands` is False when the folder is gone or holds another export by now, or was never put in place.
    """

    name: str
    folder: Path
    format: Mapping[str, Any]
    base: str
    verdict: str
    reason: str
    not_compared: str
    comparison: Mapping[str, Any]
    size: int
    peak_memory: int | None
    file: str
    runtime: str
    stands: bool


@dataclass(frozen=True)
class EarlierLoss:
    """The perplexity of a tuned model and of its export, and the run that measured both."""

    run: str
    before: float
    after: float


@dataclass(frozen=True)
class Use:
    """How to use an export: `code` names what for, `text` is typed as it stands, in the workspace's folder."""

    code: str
    text: str


def export_config(folder: RunFolder) -> ExportConfig | None:
    """The config of an export; None when it cannot be read."""
    return config_of(folder, ExportConfig)


def read_results(folder: RunFolder) -> ExportResults | None:
    """What the run has found out about its export; None when it is not that far."""
    value = read_json(folder.path / RESULTS)
    fields = Fields(value)
    if not fields.text("folder"):
        return None
    place = Path(fields.text("folder"))
    peak = fields.number("peak_memory_bytes")
    return ExportResults(
        name=fields.text("name"),
        folder=place,
        format=fields.mapping("format"),
        base=fields.text("base"),
        verdict=fields.text("verdict"),
        reason=fields.text("reason"),
        not_compared=fields.text("not_compared"),
        comparison=fields.mapping("comparison"),
        size=fields.whole("size_bytes"),
        peak_memory=None if peak is None else int(peak),
        file=fields.text("file"),
        runtime=fields.text("runtime"),
        stands=read_json(place / CARD) == value,
    )


def files(place: Path) -> list[tuple[str, int]]:
    """The files of an export with their sizes in bytes, the largest first."""
    found = [(str(file.relative_to(place)), file.stat().st_size) for file in place.rglob("*") if file.is_file()]
    return sorted(found, key=lambda entry: (-entry[1], entry[0]))


def earlier_loss(workspace: Workspace, base: str, target: Format) -> EarlierLoss | None:
    """What the newest export of the same base in the same type and bits has measured; None where there is none."""
    wanted = _bits(target.model_dump(mode="json"))
    places = sorted(workspace.saves.glob(f"*/{RESULTS}"), key=lambda file: file.stat().st_mtime, reverse=True)
    for place in places:
        found = Fields(read_json(place) if place.stat().st_size <= LARGEST_RESULTS else None)
        if found.text("base") != base or _bits(found.mapping("format")) != wanted:
            continue
        numbers = Fields(found.mapping("comparison"))
        before, after = numbers.number("perplexity_before"), numbers.number("perplexity_after")
        if before and after:
            return EarlierLoss(place.parent.name, before, after)
    return None


def _bits(target: Mapping[str, Any]) -> tuple[Any, ...]:
    """What decides how much a format loses, above all."""
    return tuple(target.get(key) for key in ("type", "bits", "quantization"))


def uses(workspace: Workspace, results: ExportResults) -> list[Use]:
    """How the export is used, the simplest way first."""
    inside = results.folder.is_relative_to(workspace.root)
    place = str(results.folder.relative_to(workspace.root) if inside else results.folder)
    kind = results.format.get("type")
    if kind == "gguf":
        return _gguf_uses(results, place)
    if kind == "gptq":
        return [
            Use("gptqmodel", _GPTQMODEL.format(place=json.dumps(place))),
            Use("vllm", f"vllm serve {shlex.quote(place)}"),
        ]
    if kind == "adapter":
        served = {"model": {"path": results.base}, "serving": {"adapters": [place]}}
        return [*_served(served), Use("peft", _PEFT.format(place=json.dumps(place), base=json.dumps(results.base)))]
    return [*_served({"model": {"path": place}}), Use("transformers", _TRANSFORMERS.format(place=json.dumps(place)))]


def _gguf_uses(results: ExportResults, place: str) -> list[Use]:
    name, file = shlex.quote(results.name), f"{place}/{results.file}"
    ollama = f"cd {shlex.quote(place)} && ollama create {name} -f Modelfile && ollama run {name}"
    served = {"model": {"path": file}, "engine": {"type": "llama-cpp"}}
    return [Use("ollama", ollama), Use("llama_cpp", f"llama-server -m {shlex.quote(file)}"), *_served(served)]


def _served(tree: Mapping[str, Any]) -> list[Use]:
    """The command of Studio's own server; nothing when it cannot serve such a thing."""
    try:
        return [Use("studio", shlex.join(command_of(parse(tree, ServeConfig))))]
    except ConfigError:
        return []


_TRANSFORMERS = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({place})
model = AutoModelForCausalLM.from_pretrained({place})
question = [{{"role": "user", "content": "Who are you?"}}]
prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**prompt, max_new_tokens=100)
print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
"""

_PEFT = """\
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({place})
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({base}), {place})
"""

_GPTQMODEL = """\
from gptqmodel import GPTQModel

model = GPTQModel.load({place})
print(model.tokenizer.decode(model.generate("Who are you?")[0]))
"""
