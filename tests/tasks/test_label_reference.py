"""The labels of hundreds of varied conversations are those of a slow, obvious reference, whatever the template."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from studio.data.examples import Example, Message
from studio.tasks.templates import read_template
from studio.tasks.tokenize import Settings, tokenize_example, tokenize_examples
from tests.tasks import label_reference as reference
from tests.tasks.label_conversations import PHRASES, Shape, draw

pytestmark = pytest.mark.slow

# Each tokenizer has conversations of its own, so every template is held against 500 different ones.
TOKENIZERS = {
    "words": range(100),
    "trimmed": range(100, 200),
    "straddling": range(200, 300),
    "straddling-trimmed": range(300, 400),
    "pieces": range(400, 500),
}
SEEDS = TOKENIZERS["words"]
WHOLE = 100_000
SPECIALS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


@dataclass(frozen=True)
class Family:
    """A template with its reference, and what it can take."""

    template: str
    writer: reference.Writer
    shape: Shape


FAMILIES = {
    "chatml": Family(read_template("chatml"), reference.chatml, Shape()),
    "llama3": Family(read_template("llama3"), reference.llama3, Shape(parallel=False)),
    "mistral": Family(read_template("mistral"), reference.mistral, Shape(parallel=False, ids=True, system_alone=False)),
    "thinking": Family(reference.THINKING, reference.thinking, Shape(thoughts=True)),
    "plain": Family(reference.PLAIN, reference.plain, Shape(tools=False)),
}


def build_tokenizer(trim: bool, words: bool) -> Any:
    """A byte-level tokenizer. `trim`: the spaces before a token are left out of its place, as Llama 3 and GPT-2 do.
    Without `words` a token may go over any border that no special token makes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    raw.post_processor = processors.ByteLevel(trim_offsets=trim)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator([text for name in FAMILIES for text in corpus(FAMILIES[name])], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        additional_special_tokens=SPECIALS[2:],
    )


def build_piece_tokenizer() -> Any:
    """A tokenizer like those of Llama 2 and Mistral: pieces with "▁" for a space, one put before every text between
    special tokens, and bytes for letters that it has no piece for."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    spaces = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.normalizer = spaces
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=["<unk>"], limit_alphabet=120, show_progress=False)
    learner.train_from_iterator([text for name in FAMILIES for text in corpus(FAMILIES[name])], trainer)
    model = json.loads(learner.to_str())["model"]
    vocabulary = {**model["vocab"]}
    for byte in range(256):
        vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    merges = [tuple(pair) for pair in model["merges"]]
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    raw.normalizer = spaces
    raw.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIALS])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", additional_special_tokens=SPECIALS[2:]
    )


def corpus(family: Family) -> list[str]:
    """What a tokenizer learns from: the texts between special tokens, so that its tokens go over borders."""
    texts: list[str] = []
    for seed in range(1000, 1030):
        example = draw(seed, family.shape)
        text = "".join(text for text, _ in family.writer(example.messages, tools_of(example)))
        for special in SPECIALS:
            text = text.replace(special, "\x00")
        texts += text.split("\x00")
    return texts


def tools_of(example: Example) -> list[dict[str, Any]]:
    return json.loads(example.tools) if example.tools else []


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    if request.param == "pieces":
        built = build_piece_tokenizer()
    else:
        built = build_tokenizer(trim="trimmed" in request.param, words="straddling" not in request.param)
    built.name_or_path = request.param
    return built


def settings_of(seed: int, length: int) -> Settings:
    """The settings that go with a seed: whole or cut anywhere, also in the midst of an answer."""
    rng = random.Random(seed)
    cutoff = rng.choice([WHOLE, WHOLE, rng.randint(1, length), length, length - 1, 1])
    return Settings(max(1, cutoff), train_on_prompt=rng.random() < 0.1, mask_history=rng.random() < 0.2)


def expected(family: Family, example: Example, tokenizer: Any, settings: Settings) -> tuple[list[int], list[int]]:
    pieces = family.writer(example.messages, tools_of(example))
    learnt = reference.learnt_answers(example.messages, settings.mask_history)
    return reference.reference_labels(pieces, learnt, tokenizer, settings.cutoff_len, settings.train_on_prompt)


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_are_those_of_the_reference(tokenizer: Any, name: str) -> None:
    family = FAMILIES[name]
    for seed in TOKENIZERS[tokenizer.name_or_path]:
        example = draw(seed, family.shape)
        whole, _ = expected(family, example, tokenizer, Settings(WHOLE))
        settings = settings_of(seed, len(whole))
        ids, labels = expected(family, example, tokenizer, settings)
        row = tokenize_example(example, tokenizer, family.template, settings)
        assert tokenizer.decode(row.input_ids) == tokenizer.decode(ids), (seed, example)
        assert row.labels == labels, (seed, settings, example)
        assert (row.input_ids, row.cut) == (ids, len(whole) > settings.cutoff_len)


def test_the_conversations_are_varied() -> None:
    """What the drawing promises is there, so the comparison is one of many cases and not of one."""
    drawn = [draw(seed, Shape()) for seed in range(500)]
    found = {
        "tools": [row.kind == "tools" for row in drawn],
        "calls at the end": [bool(row.messages[-1].calls) for row in drawn],
        "two calls": [any(len(message.calls) > 1 for message in row.messages) for row in drawn],
        "words beside a call": [any(m.calls and m.content for m in row.messages) for row in drawn],
        "system": [row.messages[0].role == "system" for row in drawn],
        "empty system": [row.messages[0] == Message("system", "") for row in drawn],
        "answer first": [row.messages[0].role == "assistant" for row in drawn],
        "question last": [row.messages[-1].role == "user" for row in drawn],
        "masked": [any(message.trained is False for message in row.messages) for row in drawn],
        "thoughts": [any("</think>" in message.content for message in row.messages) for row in drawn],
        "many turns": [len(row.messages) > 8 for row in drawn],
        "long": [sum(len(message.content) for message in row.messages) > 1500 for row in drawn],
        "special tokens in words": [any("<|im_end|>" in message.content for message in row.messages) for row in drawn],
    }
    assert {name for name, rows in found.items() if sum(rows) < 8} == set()
    assert len({row.messages for row in drawn}) > 480


def test_tokens_of_the_straddling_tokenizer_go_over_borders() -> None:
    tokenizer, family = build_tokenizer(trim=False, words=False), FAMILIES["plain"]
    over = 0
    for seed in SEEDS:
        pieces = family.writer(draw(seed, family.shape).messages, [])
        borders, place = set[int](), 0
        for text, _ in pieces:
            place += len(text.encode())
            borders.add(place)
        place = 0
        ids = tokenizer("".join(text for text, _ in pieces), add_special_tokens=False)["input_ids"]
        for length in reference.token_lengths(tokenizer, ids):
            over += any(place < border < place + length for border in borders)
            place += length
    assert over > len(SEEDS)


def test_many_rows_at_once_are_labelled_as_one_by_one(tokenizer: Any) -> None:
    family = FAMILIES["chatml"]
    examples = [draw(seed, family.shape) for seed in SEEDS]
    settings = Settings(WHOLE)
    together = tokenize_examples(examples, tokenizer, family.template, settings)
    assert together == [tokenize_example(example, tokenizer, family.template, settings) for example in examples]


def test_packed_rows_are_the_rows_one_after_another(
    workspace: Path, add_dataset: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the trainer itself packs: each row whole or cut, with its own labels and its own count of places."""
    rows, packed, batch = packed_by_the_trainer(workspace, add_dataset, monkeypatch)
    left = [(row["input_ids"], row["labels"]) for row in rows]
    assert len(left) == 40 > len(packed)
    for pack in packed:
        assert len(pack["input_ids"]) == len(pack["labels"]) == sum(pack["seq_lengths"]) <= 128
        start = 0
        for length in pack["seq_lengths"]:
            part = pack["input_ids"][start : start + length], pack["labels"][start : start + length]
            left.remove(part)
            start += length
    assert left == []
    # What the model gets: places begin at 0 with each row, whose first token nothing before it may predict.
    places, labels = batch["position_ids"][0].tolist(), batch["labels"][0].tolist()
    lengths = [length for pack in packed[:2] for length in pack["seq_lengths"]]
    assert places == [place for length in lengths for place in range(length)]
    wanted = [label for pack in packed[:2] for label in pack["labels"]]
    assert labels == [reference.IGNORED if place == 0 else label for place, label in zip(places, wanted, strict=True)]


def packed_by_the_trainer(
    workspace: Path, add_dataset: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Any, Any]:
    """The rows of a run before it packs them, its packs, and the batch that its collator makes of the first two."""
    from studio.config.io import parse
    from studio.runs.folder import RunFolder
    from studio.runs.records import JobSpec
    from studio.tasks import train as task
    from studio.tasks.stages import sft
    from studio.tasks.status import Reporter
    from studio.tasks.stopping import StopFlag
    from tests.tasks.conftest import TINY, merged

    rng = random.Random(7)
    turns = [
        [{"from": "human", "value": rng.choice(PHRASES)}, {"from": "gpt", "value": " ".join(rng.choices(PHRASES, k=3))}]
        for _ in range(40)
    ]
    add_dataset("varied", [{"conversations": each} for each in turns], formatting="sharegpt")
    seen: list[Any] = []
    build = sft.build

    def watched(model: Any, tokenizer: Any, prepared: Any, *rest: Any) -> Any:
        trainer = build(model, tokenizer, prepared, *rest)
        seen.extend([prepared.train, trainer.train_dataset, trainer.data_collator])
        return trainer

    monkeypatch.setattr(sft, "build", watched)
    folder = RunFolder(workspace / "saves" / "packed")
    folder.path.mkdir(parents=True)
    changes = {"data": {"datasets": ["varied"], "packing": True, "cutoff_len": 128}, "optimisation": {"max_steps": 1}}
    config = parse(merged(TINY, changes))
    task.run(folder, JobSpec(name="packed", kind="train"), config, Reporter(folder), StopFlag())
    rows, packed, collator = seen
    return list(rows), list(packed), collator([packed[0], packed[1]])
