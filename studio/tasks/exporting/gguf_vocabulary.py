"""tokenizer.json as the tokenizer of a GGUF file: tokens, types, merges or scores, special ids, and the pre-tokenizer.

llama.cpp does not read how a text is cut before the merges: it knows ways of cutting by name. The name is found here
from the cutting itself. A way that is not known is refused, as a wrong name gives wrong tokens without any error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf

from studio.tasks.exporting.companions import tokenizer_settings
from studio.tasks.failures import TaskError

Tree = Mapping[str, Any]
Kind = gguf.TokenType

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

# The pattern that cuts before byte-level merges -> (name in llama.cpp, whether llama.cpp then takes whole words that
# are tokens without merging, which must agree with `ignore_merges` of the tokenizer).
PATTERNS: Mapping[str, tuple[str, bool]] = {
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+{_REST}": ("qwen2", False),
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+{_REST}": (
        "llama-bpe",
        True,
    ),
}
WITHOUT_WHOLE_WORDS = {"llama-bpe": "dbrx"}  # the same pattern where merges always apply

MANY_MERGES = 10_000  # a vocabulary of this size would hold numbers of several digits if they had not been cut

# Tokens that end a turn in the chat formats of the field.
END_TOKENS = frozenset({
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "</s>", "<|eos|>",
    "<|end_of_text|>", "<turn|>", "<|return|>", "<eos>",
})  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer as GGUF has it. `model` is gpt2 (byte-level merges) or llama (pieces with scores)."""

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str] = field(default_factory=list[str])
    scores: list[float] = field(default_factory=list[float])
    ids: Mapping[str, int] = field(default_factory=dict[str, int])  # bos, eos, unk, pad, eot
    add_bos: bool = False
    space_prefix: bool = False
    notes: tuple[str, ...] = ()

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Put it into a file that is not opened yet."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.merges:
            writer.add_token_merges(self.merges)
        if self.scores:
            writer.add_token_scores(self.scores)
        for name, add in (
            ("bos", writer.add_bos_token_id),
            ("eos", writer.add_eos_token_id),
            ("unk", writer.add_unk_token_id),
            ("pad", writer.add_pad_token_id),
            ("eot", writer.add_eot_token_id),
        ):
            if name in self.ids:
                add(self.ids[name])
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(False)
        if self.model == "llama":
            writer.add_add_space_prefix(self.space_prefix)


def read_vocabulary(folder: Path, rows: int, template: str, ends: list[int]) -> Vocabulary:
    """The tokenizer in `folder` for a model with `rows` embeddings; `ends` are the ids that end its answers.

    Raises TaskError for a tokenizer that llama.cpp would not cut texts like.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise TaskError(
            "tokenizer",
            f"A GGUF file needs {file}, which is missing.",
            "Load the tokenizer with transformers and save it again: it then writes tokenizer.json.",
        )
    tree = json.loads(file.read_text(encoding="utf-8"))
    if tree["model"].get("type") != "BPE":
        raise _unknown(f"its model is {tree['model'].get('type')}")
    settings = tokenizer_settings(folder)
    pieces = bool(tree["model"].get("byte_fallback"))
    tokens, types = _tokens(tree, rows, pieces)
    ids = _ids(settings, tokens, template, ends)
    shared: dict[str, Any] = {"tokens": tokens, "types": types, "ids": ids, "add_bos": _adds_bos(tree)}
    if pieces:
        return Vocabulary("llama", "default", scores=_scores(tree, tokens), space_prefix=_prefixes(tree), **shared)
    pre, notes = pre_tokenizer(tree)
    return Vocabulary("gpt2", pre, merges=[" ".join(pair) for pair in _merges(tree)], notes=notes, **shared)


def pre_tokenizer(tree: Tree) -> tuple[str, tuple[str, ...]]:
    """llama.cpp's name for how a byte-level tokenizer cuts, and what to say about it. Raises TaskError when unknown."""
    steps = _steps(tree.get("pre_tokenizer"))
    kinds = [step["type"] for step in steps]
    if not steps or kinds[-1] != "ByteLevel" or steps[-1].get("add_prefix_space"):
        raise _unknown(f"it cuts texts by {', '.join(kinds) or 'nothing'}")
    words = bool(steps[-1].get("use_regex", True))
    if kinds == ["ByteLevel"] and words:
        merges = _merges(tree)
        if len(merges) >= MANY_MERGES and not any(_joins_digit(pair) for pair in merges):
            return "smollm", (
                "The vocabulary was made with single digits, although tokenizer.json does not cut them: the file says "
                "smollm, which does.",
            )
        return "gpt-2", ()
    if kinds == ["Digits", "ByteLevel"] and words and steps[0].get("individual_digits"):
        return "smollm", ()
    if kinds == ["Split", "ByteLevel"] and not words and steps[0].get("behavior") == "Isolated":
        known = PATTERNS.get(steps[0]["pattern"].get("Regex", ""))
        if known is not None:
            name, whole_words = known
            if bool(tree["model"].get("ignore_merges")) == whole_words:
                return name, ()
            if whole_words:
                return WITHOUT_WHOLE_WORDS[name], ()
    raise _unknown("llama.cpp has no name for the way in which it cuts texts that is known here")


def _unknown(why: str) -> TaskError:
    return TaskError(
        "gguf",
        f"This tokenizer cannot be written into a GGUF file: {why}.",
        "A wrong name would give wrong tokens without any error, so nothing is written. Export it merged and use "
        "llama.cpp's own converter.",
    )


def _steps(node: Any) -> list[dict[str, Any]]:
    if not isinstance(node, dict):
        return []
    if node.get("type") == "Sequence":
        inner = node.get("pretokenizers", node.get("normalizers", node.get("processors", [])))
        return [step for part in inner for step in _steps(part)]
    return [node]


def _merges(tree: Tree) -> list[tuple[str, str]]:
    """Pairs in the order of their ranks; older files hold them as one text with a space."""
    found: list[tuple[str, str]] = []
    for merge in tree["model"]["merges"]:
        one, other = merge.split(" ", 1) if isinstance(merge, str) else merge
        found.append((one, other))
    return found


def _joins_digit(pair: tuple[str, str]) -> bool:
    return any(sign in "0123456789" for part in pair for sign in part)


def _tokens(tree: Tree, rows: int, pieces: bool) -> tuple[list[str], list[int]]:
    tokens = [f"[PAD{number}]" for number in range(rows)]
    types = [int(Kind.UNUSED)] * rows
    unknown = tree["model"].get("unk_token")
    for text, number in tree["model"]["vocab"].items():
        tokens[number], types[number] = text, int(Kind.NORMAL)
        if pieces and len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            types[number] = int(Kind.BYTE)
    for entry in tree.get("added_tokens", []):
        tokens[entry["id"]] = entry["content"]
        types[entry["id"]] = int(Kind.CONTROL if entry.get("special") else Kind.USER_DEFINED)
        if pieces and entry["content"] == unknown:
            types[entry["id"]] = int(Kind.UNKNOWN)
    return tokens, types


def _ids(settings: Tree, tokens: list[str], template: str, ends: list[int]) -> dict[str, int]:
    place = {text: number for number, text in enumerate(tokens)}
    found: dict[str, int] = {}
    for name in ("bos", "eos", "unk", "pad"):
        text = settings.get(f"{name}_token")
        text = text.get("content") if isinstance(text, dict) else text
        if text in place:
            found[name] = place[text]
    closing = [place[text] for text in END_TOKENS if text in place and text in template]
    further = sorted(number for number in {*closing, *ends} if number != found.get("eos") and number < len(tokens))
    if further:
        found["eot"] = next((number for number in further if number in closing), further[0])
    return found


def _adds_bos(tree: Tree) -> bool:
    """Whether the tokenizer puts a token before each text."""
    for step in _steps(tree.get("post_processor")):
        single = step.get("single")
        if step.get("type") == "TemplateProcessing" and single and "SpecialToken" in single[0]:
            return True
    return False


def _prefixes(tree: Tree) -> bool:
    """Whether a space is put before each text."""
    steps = [*_steps(tree.get("normalizer")), *_steps(tree.get("pre_tokenizer"))]
    return any(
        step["type"] == "Prepend" or (step["type"] == "Metaspace" and step.get("prepend_scheme", "always") != "never")
        for step in steps
    )


def _scores(tree: Tree, tokens: list[str]) -> list[float]:
    """Scores from ranks: llama.cpp joins the pair whose token has the highest score, as merges join by rank.

    The two agree where all merges into one token follow each other; else this raises TaskError.
    """
    rank: dict[str, int] = {}
    last = ""
    for number, pair in enumerate(_merges(tree)):
        made = "".join(pair)
        if made in rank and made != last:
            raise _unknown("its merges are in an order that scores cannot express")
        rank.setdefault(made, number)
        last = made
    lowest = float(len(tree["model"]["merges"]))
    return [-float(rank.get(token, lowest)) for token in tokens]
