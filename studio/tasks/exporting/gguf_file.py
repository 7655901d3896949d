"""A GGUF file written tensor by tensor from the merged stream, and read back to see that it holds what was meant."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import gguf
import numpy as np
import torch

from studio.config.export import GGUF_K, ExportConfig, Gguf
from studio.config.workspace import Workspace
from studio.runs.artifacts import read_config
from studio.runs.atomic import write_json, write_text
from studio.runs.export_subject import Subject
from studio.tasks.exporting import gguf_runtime
from studio.tasks.exporting.companions import end_ids, template_of, tokenizer_folder
from studio.tasks.exporting.gguf_families import (
    Family,
    check_rope,
    family_of,
    head_size,
    rope_factors,
    transformed,
    write_metadata,
)
from studio.tasks.exporting.gguf_header import read_gguf_header
from studio.tasks.exporting.gguf_vocabulary import Vocabulary, read_vocabulary
from studio.tasks.exporting.merge import INPUT_EMBEDDINGS, Merging
from studio.tasks.exporting.merged import embedding_rows, prepare
from studio.tasks.exporting.modelfile import modelfile
from studio.tasks.exporting.shards import Output
from studio.tasks.exporting.work import Work, Written
from studio.tasks.failures import TaskError

Type = gguf.GGMLQuantizationType
FileType = gguf.LlamaFileType

TYPES: dict[str, tuple[Type, FileType]] = {
    "f32": (Type.F32, FileType.ALL_F32),
    "f16": (Type.F16, FileType.MOSTLY_F16),
    "bf16": (Type.BF16, FileType.MOSTLY_BF16),
    "q8_0": (Type.Q8_0, FileType.MOSTLY_Q8_0),
    "q5_1": (Type.Q5_1, FileType.MOSTLY_Q5_1),
    "q5_0": (Type.Q5_0, FileType.MOSTLY_Q5_0),
    "q4_1": (Type.Q4_1, FileType.MOSTLY_Q4_1),
    "q4_0": (Type.Q4_0, FileType.MOSTLY_Q4_0),
}

# The largest error of a rounded number over the largest number of its block of 32, each half a step and some float16.
ERROR = {
    "F32": 0.0, "F16": 2**-11, "BF16": 2**-8, "Q8_0": 0.0045, "Q5_1": 0.035, "Q5_0": 0.065, "Q4_1": 0.07, "Q4_0": 0.13,
}  # fmt: skip
TINY = 4e-6  # below this, float16 scales themselves are coarse

CHUNK = 1 << 20  # numbers that are quantized at a time


@dataclass(frozen=True)
class Entry:
    """One tensor of the file: where it comes from, its name there, its type."""

    source: str
    name: str
    shape: tuple[int, ...]
    kind: Type

    @property
    def byte_shape(self) -> tuple[int, ...]:
        """Its shape in bytes, the last side as long as its blocks are."""
        block, size = gguf.GGML_QUANT_SIZES[self.kind]
        return (*self.shape[:-1], self.shape[-1] // block * size)


@dataclass(frozen=True)
class Plan:
    """What a file is made from; `quantization` is a simple type."""

    merging: Merging
    config: dict[str, Any]
    family: Family
    words: Vocabulary
    template: str
    quantization: str


def check(workspace: Workspace, config: ExportConfig, subject: Subject) -> None:
    """Refuse what cannot be written before anything is. Raises TaskError."""
    assert isinstance(config.format, Gguf) and subject.base_folder is not None
    if config.format.quantization in GGUF_K and not gguf_runtime.installed(workspace):
        raise TaskError(
            "gguf",
            f"{config.format.quantization} is made by llama.cpp, whose engine is not installed.",
            "Install it with `studio engines install llama-cpp`, or choose q8_0, q5_1, q4_1 or another simple type.",
        )
    settings = read_config(subject.base_folder)
    family_of(settings)
    check_rope(settings)


def write(work: Work) -> Written:
    """Write the file and a Modelfile into the draft, and compare the file with what was meant.

    Raises TaskError for a model or a tokenizer that cannot be expressed, OSError.
    """
    target = work.config.format
    assert isinstance(target, Gguf) and work.subject.base_folder is not None
    merging = prepare(work, "auto")
    config = merging.model_config()
    template = template_of(work.subject)
    ends = end_ids(work.subject.base_folder)
    words = read_vocabulary(tokenizer_folder(work.subject), embedding_rows(merging), template, ends)
    for note in words.notes:
        work.reporter.notice(note)
    by_llama = target.quantization in GGUF_K
    plan = Plan(merging, config, family_of(config), words, template, "f16" if by_llama else target.quantization)
    path = work.draft / f"{work.config.name or 'model'}-{target.quantization}.gguf"
    first = work.scratch / "f16.gguf" if by_llama else path
    work.reporter.phase("merging" if merging.adapters else "writing weights", path.name)
    entries = list(plan_entries(plan))
    write_file(first, entries, plan, work)
    work.reporter.phase("verifying", "reading the file back")
    facts: dict[str, Any] = {
        "file": path.name,
        "pre_tokenizer": words.pre,
        "architecture": gguf.MODEL_ARCH_NAMES[plan.family.arch],
        **read_back(first, entries, plan),
    }
    if by_llama:
        facts |= gguf_runtime.quantize(work, first, path, target.quantization)
        first.unlink()
    text, note = modelfile(path.name, template, words, int(config["max_position_embeddings"]))
    write_text(work.draft / "Modelfile", text, durable=False)
    if note:
        work.reporter.notice(note)
    return _measured_by(work, path, plan, facts)


def _measured_by(work: Work, path: Path, plan: Plan, facts: dict[str, Any]) -> Written:
    """By llama.cpp where it is installed, else by transformers where that can read such a file."""
    # llama.cpp rounds activations too, so that even a file of floats does not give the same logits.
    exact = plan.quantization in ("f32", "f16", "bf16") and "quantize_seconds" not in facts
    if gguf_runtime.installed(work.workspace):

        def probe(tokens: Mapping[str, Any], logits: Path) -> dict[str, Any]:
            return gguf_runtime.measure(work, path, tokens, logits)

        return Written(exact=exact, probe=probe, facts={**facts, "runtime": "llama.cpp"})
    if not plan.family.readable:
        why = (
            "Its tensors were compared, its answers were not: transformers cannot read a file of this family. "
            "`studio engines install llama-cpp` makes llama.cpp do it."
        )
        return Written(exact=exact, facts=facts, not_compared=why)
    settings = work.scratch / "settings"
    settings.mkdir()
    other = {"model_type": plan.family.read_as} if plan.family.read_as else dict[str, str]()
    write_json(settings / "config.json", {**plan.config, **other}, durable=False)
    request = {"folder": str(path.parent), "gguf": path.name, "config": str(settings)}
    return Written(exact=exact, request=request, facts={**facts, "runtime": "transformers"})


def plan_entries(plan: Plan) -> Iterator[Entry]:
    """Every tensor of the file in the order of the model. Raises TaskError for one that the architecture has not."""
    merging, config, family = plan.merging, plan.config, plan.family
    names = gguf.get_tensor_name_map(family.arch, int(config["num_hidden_layers"]))
    tied = bool(config.get("tie_word_embeddings")) or not any(out.name == "lm_head.weight" for out in merging.outputs)
    if rope_factors(config) is not None:
        yield Entry("", "rope_freqs.weight", (head_size(config) // 2,), Type.F32)
    for output in merging.outputs:
        if output.name == "lm_head.weight" and tied:
            continue
        if output.name == "lm_head.weight" and family.one_embedding:
            raise TaskError(
                "gguf",
                "In llama.cpp this family has one embedding for both ends, and the adapter has made two of it.",
                "Export it merged, or train without embed_tokens and lm_head among the target modules.",
            )
        found = names.get_name(output.name, try_suffixes=(".weight", ".bias"))
        if found is None:
            if "rotary_emb" in output.name:  # old checkpoints carry it; it is computed, not learnt
                continue
            raise TaskError("gguf", f"The architecture {names} has no place for {output.name}.", "Export it merged.")
        yield Entry(output.name, found, output.shape, _kind(output, plan.quantization))


def _kind(output: Output, quantization: str) -> Type:
    """Vectors stay in float32, as llama.cpp wants them; embeddings lose too much below 8 bits; odd sides stay whole."""
    if len(output.shape) < 2:
        return Type.F32
    kind = TYPES[quantization][0]
    embedding = output.name in {"lm_head.weight", *(f"{name}.weight" for name in INPUT_EMBEDDINGS)}
    if embedding and kind in (Type.Q5_1, Type.Q5_0, Type.Q4_1, Type.Q4_0):
        kind = Type.Q8_0
    return kind if output.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] == 0 else Type.F16


def write_file(path: Path, entries: list[Entry], plan: Plan, work: Work) -> None:
    """Header first, then one tensor at a time."""
    family = plan.family
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[family.arch])
    try:
        writer.add_type("model")
        writer.add_name(_name(work.subject, plan.words))
        writer.add_file_type(int(TYPES[plan.quantization][1]))
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        write_metadata(writer, plan.config, family, embedding_rows(plan.merging))
        plan.words.write(writer)
        if plan.template:
            writer.add_chat_template(plan.template)
        sizes = [int(np.prod(entry.byte_shape)) for entry in entries]
        for entry, size in zip(entries, sizes, strict=True):
            writer.add_tensor_info(entry.name, entry.byte_shape, np.dtype(np.uint8), size, entry.kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        done, total = 0, sum(sizes)
        for entry, size in zip(entries, sizes, strict=True):
            writer.write_tensor_data(encode(load(entry, plan), entry))
            done += size
            work.progress(done, total)
        writer.flush()
    finally:
        writer.close()
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _name(subject: Subject, words: Vocabulary) -> str:
    """The model's name in the file: that of the base and of no run, as llama.cpp goes by it.

    By the name phi-3 it strips spaces behind special tokens, and fails where the tokens of that family are missing.
    """
    origin = PurePosixPath((subject.run.model.path if subject.run else subject.base).rstrip("/")).name
    phi = any(word in origin.lower() for word in ("phi-3", "phi3"))
    return "model" if phi and not {"</s>", "<unk>", "<s>", "<|endoftext|>"} <= set(words.tokens) else origin


def load(entry: Entry, plan: Plan) -> torch.Tensor:
    """The merged tensor as llama.cpp wants it."""
    if not entry.source:
        factors = rope_factors(plan.config)
        assert factors is not None
        return factors
    return transformed(entry.source, plan.merging.load(entry.source), plan.config, plan.family)


def encode(tensor: torch.Tensor, entry: Entry) -> np.ndarray:
    """The bytes of a tensor in the type of its entry, as uint8 of its byte shape. Raises TaskError for infinities."""
    plain = {Type.F32: torch.float32, Type.F16: torch.float16, Type.BF16: torch.bfloat16}.get(entry.kind)
    if plain is not None:
        cast = tensor.to(plain).contiguous()
        if plain == torch.float16 and not torch.isfinite(cast).all():
            raise TaskError(
                "gguf", f"{entry.name} holds numbers beyond the range of f16.", "Choose format.quantization=bf16."
            )
        return cast.view(torch.uint8).reshape(entry.byte_shape).numpy()
    flat = tensor.reshape(-1, tensor.shape[-1])
    result = np.empty((flat.shape[0], entry.byte_shape[-1]), dtype=np.uint8)
    for start, stop in _chunks(flat):
        result[start:stop] = gguf.quantize(flat[start:stop].float().numpy(), entry.kind)
    return result.reshape(entry.byte_shape)


def _chunks(flat: torch.Tensor) -> Iterator[tuple[int, int]]:
    rows = max(1, CHUNK // max(1, flat.shape[1]))
    for start in range(0, flat.shape[0], rows):
        yield start, min(start + rows, flat.shape[0])


def read_back(path: Path, entries: list[Entry], plan: Plan) -> dict[str, float]:
    """Read every tensor of the file and hold it against the merged one.

    Gives the largest error over the bound of its type (at most 1) and the root mean square of all errors over that of
    all weights. Raises TaskError when something is missing, elsewhere, or further off than its type explains.
    """
    settings, stored = read_gguf_header(path)
    if set(stored) != {entry.name for entry in entries}:
        raise TaskError("gguf", f"{path.name} does not hold the tensors that were written.", "Export it again.")
    if settings["tokenizer.ggml.tokens"] != plan.words.tokens:
        raise TaskError("gguf", f"{path.name} does not hold the tokens that were written.", "Export it again.")
    worst, errors, weights = 0.0, 0.0, 0.0
    for entry in entries:
        tensor = load(entry, plan)
        flat = tensor.reshape(-1, tensor.shape[-1])
        place = stored[entry.name]
        width = place.nbytes // flat.shape[0]
        for start, stop in _chunks(flat):
            meant = flat[start:stop].float().numpy()
            count = (stop - start) * width
            data = np.fromfile(path, dtype=np.uint8, count=count, offset=place.start + start * width)
            found = _decode(data.reshape(stop - start, width), entry.kind).reshape(meant.shape)
            apart = np.abs(found - meant)
            worst = max(worst, _over_bound(apart, meant, entry.kind))
            errors += float((apart.astype(np.float64) ** 2).sum())
            weights += float((meant.astype(np.float64) ** 2).sum())
        if not worst <= 1:
            raise TaskError(
                "gguf", f"{entry.name} in {path.name} is not what was merged.", "Export it again, and report it."
            )
    return {
        "largest_error_over_bound": round(worst, 4),
        "relative_error": round((errors / max(weights, 1e-30)) ** 0.5, 6),
    }


def _decode(data: np.ndarray, kind: Type) -> np.ndarray:
    if kind in (Type.F32, Type.F16):
        return data.view(np.float32 if kind == Type.F32 else np.float16).astype(np.float32)
    return gguf.dequantize(data, kind)


def _over_bound(apart: np.ndarray, meant: np.ndarray, kind: Type) -> float:
    """The largest error over what the type explains: a share of the largest number of the block, or of itself."""
    bound = ERROR[kind.name]
    block = gguf.GGML_QUANT_SIZES[kind][0]
    if bound == 0:
        return 0.0 if not apart.any() else float("inf")
    if block > 1:
        apart, meant = apart.reshape(-1, block), meant.reshape(-1, block)
        size = np.abs(meant).max(axis=1, keepdims=True)
    else:
        size = np.abs(meant)
    return float((apart / (size * bound + TINY)).max(initial=0.0))
