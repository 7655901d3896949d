"""Many rows at once become the tokens that each becomes alone, whatever the tokenizer and the template."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2.exceptions import SecurityError

from studio.config.templates import TEMPLATE_NAMES
from studio.data.examples import DataError, Example, Message
from studio.tasks.rendering import render
from studio.tasks.templates import read_template
from studio.tasks.tokenize import (
    IGNORED,
    Settings,
    TokenizedRow,
    cut_into_blocks,
    in_order,
    tokenize_example,
    tokenize_examples,
    tokenize_stream,
)

pytestmark = pytest.mark.slow

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BARE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TRIMMED = CHATML.replace("{{ m.content }}", "{{ m.content | trim }}")
SHY = "{% if 'no' in messages[0].content %}{{ raise_exception('no') }}{% endif %}" + CHATML

WORDS = [
    "naïve",
    "你好",
    "🙂👍🏽",
    "\n\n",
    "  ",
    "no",
    "one two",
    "<|im_end|>",
    "e\u0301a",
    "\u200b",
    "x" * 30,
    "",
    "half \ud83d",
]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """A conversation that ends with an answer or not, with answers that are trained on or not; seldom plain text."""
    if draw(st.integers(0, 9)) == 0:
        return Example("x", 1, text=draw(texts))
    turns = [Message("system", draw(texts))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns.append(Message("user", draw(texts)))
        turns.append(Message("assistant", draw(texts), trained=draw(st.sampled_from([None, None, False]))))
    return Example("x", 1, messages=tuple(turns[: len(turns) - draw(st.integers(0, 1))]))


rows_of_all_kinds = st.lists(examples(), min_size=1, max_size=6)
ways = st.builds(
    Settings,
    cutoff_len=st.sampled_from([4, 20, 4096]),
    train_on_prompt=st.booleans(),
    mask_history=st.booleans(),
    plain_text=st.sampled_from([False, False, True]),
)


@pytest.fixture(scope="module")
def tiny_tokenizer(tiny_tokenizer_folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_tokenizer_folder)


@pytest.fixture(scope="module", params=["bytes", "pieces", "words"])
def tokenizer(request: pytest.FixtureRequest, tiny_tokenizer_folder: Path) -> Any:
    """Three makes: byte-level BPE, of which one letter may be several tokens; pieces as in SentencePiece, which put a
    sign before each word; whole words, which drop spaces and accents."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if request.param == "bytes":
        made = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    else:
        specials = ["<unk>", "<s>", "<|im_start|>", "<|im_end|>"]
        if request.param == "pieces":
            raw = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
            raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
            raw.decoder = decoders.Metaspace()
            trainer: Any = trainers.BpeTrainer(vocab_size=120, special_tokens=specials, show_progress=False)
        else:
            raw = Tokenizer(models.WordPiece(unk_token="<unk>"))
            raw.normalizer = normalizers.BertNormalizer()
            raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=specials, show_progress=False)
        raw.train_from_iterator(["user assistant system one two no naïve x xxx : e"] * 9, trainer)
        raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
        made = PreTrainedTokenizerFast(
            tokenizer_object=raw,
            unk_token="<unk>",
            bos_token="<s>",
            eos_token="<|im_end|>",
            additional_special_tokens=["<|im_start|>"],
        )
    # As a tokenizer.json may bring them along.
    made.backend_tokenizer.enable_truncation(3)
    made.backend_tokenizer.enable_padding(length=9)
    return made


def alone(example: Example, *how: Any) -> TokenizedRow | DataError:
    try:
        return tokenize_example(example, *how)
    except DataError as error:
        return error


def same(one: TokenizedRow | DataError, other: TokenizedRow | DataError) -> bool:
    return str(one) == str(other)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(rows=rows_of_all_kinds, way=ways, template=st.sampled_from([CHATML, BARE, TRIMMED, SHY]))
def test_many_rows_at_once_are_the_rows_one_by_one(
    tokenizer: Any, rows: list[Example], way: Settings, template: str
) -> None:
    single = [alone(row, tokenizer, template, way) for row in rows]
    assert all(map(same, tokenize_examples(rows, tokenizer, template, way), single))
    chunks = [rows[:1], rows[1:4], rows[4:]]
    streamed = [row for chunk in tokenize_stream(chunks, tokenizer, template, way) for row in chunk]
    assert len(streamed) == len(single) and all(map(same, streamed, single))


@pytest.mark.parametrize("name", ["own", *TEMPLATE_NAMES])
@pytest.mark.parametrize("prompt", [False, True])
def test_the_template_compiled_once_gives_what_transformers_gives(tiny_tokenizer: Any, name: str, prompt: bool) -> None:
    template = tiny_tokenizer.chat_template if name == "own" else read_template(name)
    turns = [
        {"role": role, "content": f"{role} 你好 {{{{ x }}}} \n"} for role in ("system", "user", "assistant", "user")
    ]
    for part in (turns, turns[1:], turns[1:3]):
        expected = tiny_tokenizer.apply_chat_template(
            part, chat_template=template, tokenize=False, add_generation_prompt=prompt
        )
        assert render(tiny_tokenizer, template, part, None, prompt) == expected


def test_a_template_compiled_once_stays_in_the_sandbox(tiny_tokenizer: Any) -> None:
    with pytest.raises(SecurityError):
        render(tiny_tokenizer, "{{ messages.append(1) }}", [{"role": "user", "content": "a"}], None, False)


def test_a_row_with_half_a_character_is_refused_alone(tokenizer: Any) -> None:
    whole, half = (
        Example("x", 1, messages=(Message("user", text), Message("assistant", "a"))) for text in ("b", "\ud83d")
    )
    first, second, third = tokenize_examples([whole, half, whole], tokenizer, CHATML, Settings(64))
    assert isinstance(second, DataError) and "half of a surrogate pair" in str(second)
    assert isinstance(first, TokenizedRow) and first == third


def test_results_come_in_order_and_few_are_begun_before_they_are_wanted() -> None:
    begun: list[int] = []

    def items() -> Any:
        for number in range(20):
            begun.append(number)
            yield number

    with ThreadPoolExecutor(3) as pool:
        results = in_order(pool, lambda number: number * number, items(), ahead=4)
        assert [next(results) for _ in range(3)] == [0, 1, 4]
        assert len(begun) == 7
        assert list(results) == [number * number for number in range(3, 20)]


def test_blocks_are_cut_while_the_rows_still_come() -> None:
    def rows() -> Any:
        for number in range(1, 100):
            assert number <= 4, "more rows were taken than the block needed"
            yield TokenizedRow([number] * 3, [number] * 3)

    assert next(cut_into_blocks(rows(), 10)).input_ids == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]


def test_the_count_of_trained_tokens_leaves_the_first_out() -> None:
    for labels in ([], [5], [IGNORED], [5, IGNORED, 6], [IGNORED, 5, 6]):
        assert TokenizedRow(list(labels), labels).trained == sum(label != IGNORED for label in labels[1:])


def test_a_set_is_written_within_a_bounded_memory(tmp_path: Path) -> None:
    """Of 20,000 rows as lists only a batch is alive at a time."""
    from studio.tasks.token_file import ROWS_PER_BATCH, open_rows, write_rows

    most = 0

    def rows() -> Any:
        nonlocal most
        for number in range(20_000):
            if number % 5000 == 4999:
                most = max(most, sum(type(thing) is TokenizedRow for thing in gc.get_objects()))
            yield TokenizedRow(
                [number, 1, 2], [IGNORED, 1, 2] if number % 4 else [0, IGNORED, IGNORED], cut=number % 2 == 0
            )

    account = write_rows(rows(), tmp_path / "rows.arrow", Settings(8))
    assert most <= 4 * ROWS_PER_BATCH
    assert (account.rows, account.kept, account.dropped, account.cut) == (20_000, 15_000, 5_000, 10_000)
    assert (account.tokens, account.trained_tokens, account.longest) == (45_000, 30_000, 3)
    stored = open_rows(tmp_path / "rows.arrow")
    assert len(stored) == 15_000
    assert stored[1] == {"input_ids": [2, 1, 2], "labels": [IGNORED, 1, 2]}


def test_the_tokenizer_s_threads_are_off_again_behind_it(
    tiny_tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data loader forks; a child whose tokenizer still believes in its threads would hang."""
    import torch
    from transformers import AutoTokenizer

    from studio.tasks.dataset import ROWS_PER_CHUNK, tokenized

    seen: list[tuple[int, str]] = []
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    row = Example("x", 1, messages=(Message("user", "a"), Message("assistant", "b")))

    def progress(done: int, total: int) -> None:
        seen.append((done, os.environ["TOKENIZERS_PARALLELISM"]))

    count = ROWS_PER_CHUNK + 1
    made = tokenized([row] * count, 1, progress, tokenizer=tokenizer, template=CHATML, settings=Settings(64))
    assert len(list(made)) == count
    assert seen == [(ROWS_PER_CHUNK, "true"), (count, "true")]
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
