"""Which pre-tokenizer a GGUF file names, from how the tokenizer cuts; and Modelfiles that say what Jinja says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.config.templates import TEMPLATE_NAMES
from studio.tasks.exporting.gguf_vocabulary import Vocabulary, pre_tokenizer, read_vocabulary
from studio.tasks.exporting.modelfile import modelfile, pieces_of
from studio.tasks.failures import TaskError
from studio.tasks.templates import read_template

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def split(pattern: str) -> dict[str, Any]:
    """Cut by a pattern, then byte level, as the newer families do."""
    one = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [one, {**BYTES, "use_regex": False}]}


def tree(cutting: Any, merges: list[Any] | None = None, **model: Any) -> dict[str, Any]:
    """A tokenizer.json as far as it counts here."""
    return {"pre_tokenizer": cutting, "model": {"type": "BPE", "vocab": {}, "merges": merges or [], **model}}


def many(extra: list[list[str]]) -> list[list[str]]:
    """Merges of a large vocabulary."""
    return [[chr(0x4E00 + number), "x"] for number in range(12_000)] + extra


DIGITS = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTES]}


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (tree(DIGITS), "smollm"),
        (tree(BYTES, [["a", "b"]]), "gpt-2"),
        (tree(BYTES, many([["1", "2"]])), "gpt-2"),
        (tree(BYTES, many([])), "smollm"),  # made with single digits, as transformers forgets when it reads a GGUF file
        (tree(BYTES, [f"{a} {b}" for a, b in many([])]), "smollm"),
        (tree(split(QWEN)), "qwen2"),
        (tree(split(LLAMA), ignore_merges=True), "llama-bpe"),
        (tree(split(LLAMA)), "dbrx"),
    ],
)
def test_the_way_of_cutting_has_its_name(found: dict[str, Any], wanted: str) -> None:
    assert pre_tokenizer(found)[0] == wanted


@pytest.mark.parametrize(
    "found",
    [
        tree(None),
        tree({"type": "Whitespace"}),
        tree(split(r"\d+")),
        tree(split(QWEN), ignore_merges=True),
        tree({**BYTES, "add_prefix_space": True}),
        tree({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, BYTES]}),
    ],
)
def test_an_unknown_way_is_refused(found: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match="wrong tokens without any error"):
        pre_tokenizer(found)


def pieces_tokenizer(folder: Path, merges: list[list[str]]) -> Path:
    """A tokenizer of pieces with bytes to fall back on, as Llama 2, Mistral and Gemma have it."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, "<0x0A>": 3, "▁": 4, "a": 5, "b": 6, "ab": 7, "▁ab": 8}
    whole = {
        "added_tokens": [
            {"id": number, "content": text, "special": True} for number, text in enumerate(("<unk>", "<s>", "</s>"))
        ],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {}}]},
        "model": {"type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "vocab": vocab, "merges": merges},
    }
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    names = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return folder


def test_pieces_get_scores_in_the_order_of_their_merges(tmp_path: Path) -> None:
    folder = pieces_tokenizer(tmp_path, [["a", "b"], ["▁", "ab"], ["▁a", "b"]])
    found = read_vocabulary(folder, rows=11, template="", ends=[2])
    assert (found.model, found.pre, found.add_bos, found.space_prefix) == ("llama", "default", True, True)
    assert found.scores[7] > found.scores[8] > found.scores[5]
    assert found.types == [2, 3, 3, 6, 1, 1, 1, 1, 1, 5, 5]
    assert found.tokens[9:] == ["[PAD9]", "[PAD10]"]
    assert found.ids == {"bos": 1, "eos": 2, "unk": 0}


def test_merges_that_scores_cannot_express_are_refused(tmp_path: Path) -> None:
    folder = pieces_tokenizer(tmp_path, [["▁", "ab"], ["a", "b"], ["▁a", "b"]])
    with pytest.raises(TaskError, match="scores cannot express"):
        read_vocabulary(folder, rows=9, template="", ends=[])


def test_a_tokenizer_without_its_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"tokenizer\.json, which is missing"):
        read_vocabulary(tmp_path, rows=9, template="", ends=[])


WORDS = Vocabulary(
    "gpt2", "gpt-2", ["<s>", "</s>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>"], [3] * 6,
    ids={"bos": 0, "eos": 1}, add_bos=True,
)  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_a_modelfile_says_what_the_template_says_or_nothing(name: str) -> None:
    template = read_template(name)
    text, note = modelfile("m.gguf", template, WORDS, 4096)
    assert text.startswith("FROM ./m.gguf\n") and "PARAMETER num_ctx 4096" in text
    assert ("TEMPLATE" in text) == (not note)


def test_chatml_is_said_in_full() -> None:
    pieces = pieces_of(read_template("chatml"), WORDS)
    assert pieces is not None
    talk = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    assert pieces.text(talk) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    )
    text, _ = modelfile("m.gguf", read_template("chatml"), WORDS, 100_000)
    assert 'PARAMETER stop "<|im_end|>"' in text and "PARAMETER num_ctx 8192" in text
    assert "<|im_start|>assistant\n{{ .Content }}<|im_end|>\n{{ end }}" in text


def test_a_default_system_text_stands_where_none_is_given() -> None:
    template = (
        "{% if messages[0].role != 'system' %}[SYS]Be kind.{% endif %}"
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    pieces = pieces_of(template, WORDS)
    assert pieces is not None and pieces.default == "[SYS]Be kind."
    assert pieces.go().startswith('{{ if ne (index .Messages 0).Role "system" }}[SYS]Be kind.{{ end }}')


def test_turns_that_depend_on_their_place_are_left_to_jinja() -> None:
    template = "{% for m in messages %}{{ loop.index }}{{ m.role }}{{ m.content }}{% endfor %}"
    text, note = modelfile("m.gguf", template, WORDS, 4096)
    assert "TEMPLATE" not in text and "cannot be said" in note
