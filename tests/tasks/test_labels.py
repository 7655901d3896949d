"""What is trained on: the answers with their end tokens and nothing else, under every template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.config.templates import TEMPLATE_NAMES
from studio.data.examples import DataError, Example, Message
from studio.tasks.templates import read_template
from studio.tasks.tokenize import IGNORED, Settings, TokenizedRow, cut_into_blocks, tokenize_example

pytestmark = pytest.mark.slow

# What each shipped template puts behind an answer, when the tokenizer's end token is <|im_end|>.
CLOSING = {"gemma": "<end_of_turn>", "llama2": " <|im_end|>", "llama3": "<|eot_id|>", "phi3": "<|end|>"}

# A template that shows the thoughts of the last turn only, as those of reasoning models do.
THINKING = (
    "{%- for m in messages -%}{%- set text = m.content -%}"
    "{%- if m.role == 'assistant' and not loop.last and '</think>' in text -%}"
    "{%- set text = text.split('</think>')[-1].lstrip('\n') -%}{%- endif -%}"
    "<|im_start|>{{ m.role }}\n{{ text }}<|im_end|>\n{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)
# The same with marks around what is generated.
MARKED = THINKING.replace(
    "<|im_start|>{{ m.role }}\n{{ text }}<|im_end|>\n",
    "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ text }}{% endgeneration %}"
    "{% else %}{{ text }}{% endif %}<|im_end|>\n",
)

TALK = (
    Message("system", "Be kind."),
    Message("user", "Who are you?"),
    Message("assistant", "I am Lumen, naïve – 你好 🙂"),
    Message("user", "assistant"),
    Message("assistant", "assistant"),
)


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer_folder: Path) -> Any:
    """The tiny tokenizer; its end and padding token are the same."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_tokenizer_folder)


def row(tokenizer: Any, messages: tuple[Message, ...], template: str, **settings: Any) -> TokenizedRow:
    """One conversation with a cutoff that cuts nothing unless asked."""
    example = Example("x.json", 1, messages=messages)
    return tokenize_example(example, tokenizer, template, Settings(**{"cutoff_len": 4096, **settings}))


def trained_texts(tokenizer: Any, tokenized: TokenizedRow) -> list[str]:
    """The text of each unbroken run of trained tokens."""
    assert len(tokenized.input_ids) == len(tokenized.labels)
    assert all(label in (IGNORED, token) for token, label in zip(tokenized.input_ids, tokenized.labels, strict=True))
    runs: list[list[int]] = [[]]
    for label in tokenized.labels:
        if label != IGNORED:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
@pytest.mark.parametrize("messages", [TALK, TALK[1:], TALK[:3], TALK[1:3]], ids=["all", "no-system", "one", "plain"])
def test_the_answers_and_their_end_tokens_are_trained_on(
    tokenizer: Any, name: str, messages: tuple[Message, ...]
) -> None:
    tokenized = row(tokenizer, messages, read_template(name))
    closing = CLOSING.get(name, "<|im_end|>")
    expected = [message.content + closing for message in messages if message.role == "assistant"]
    if closing.strip() != "<|im_end|>":
        # The template's end of turn is no special token of this tokenizer, so a real end token follows.
        expected[-1] += "<|im_end|>"
    assert [text.lstrip(" ") for text in trained_texts(tokenizer, tokenized)] == expected


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_the_ids_are_those_of_the_whole_text(tokenizer: Any, name: str) -> None:
    template = read_template(name)
    turns = [{"role": message.role, "content": message.content} for message in TALK]
    text = tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False)
    ids = tokenizer(text.rstrip(), add_special_tokens=False)["input_ids"]
    assert row(tokenizer, TALK, template).input_ids[: len(ids)] == ids


def test_a_shipped_template_exists_for_every_name() -> None:
    folder = Path(__file__).parents[2] / "studio" / "tasks" / "templates"
    assert sorted(file.stem for file in folder.glob("*.jinja")) == sorted(TEMPLATE_NAMES)


def test_masked_history_leaves_the_last_answer(tokenizer: Any) -> None:
    tokenized = row(tokenizer, TALK, tokenizer.chat_template, mask_history=True)
    assert trained_texts(tokenizer, tokenized) == ["assistant<|im_end|>"]


def test_training_on_the_prompt_trains_every_token(tokenizer: Any) -> None:
    tokenized = row(tokenizer, TALK, tokenizer.chat_template, train_on_prompt=True)
    assert tokenized.labels == tokenized.input_ids


def test_an_answer_of_weight_zero_is_not_trained_on(tokenizer: Any) -> None:
    talk = (*TALK[:2], Message("assistant", "skip me", trained=False), *TALK[3:])
    assert trained_texts(tokenizer, row(tokenizer, talk, tokenizer.chat_template)) == ["assistant<|im_end|>"]


def test_a_template_without_end_tokens_gets_one_at_the_end(tokenizer: Any) -> None:
    bare = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    bare += "{% if add_generation_prompt %}assistant:{% endif %}"
    tokenized = row(tokenizer, TALK[1:3], bare)
    assert trained_texts(tokenizer, tokenized) == [" " + TALK[2].content + "<|im_end|>"]
    assert tokenized.input_ids[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("template", [THINKING, MARKED], ids=["by-mark", "by-generation"])
def test_answers_are_found_under_a_template_that_rewrites_earlier_turns(tokenizer: Any, template: str) -> None:
    talk = (
        Message("user", "assistant"),
        Message("assistant", "<think>\nwhat?\n</think>\n\nassistant"),
        Message("user", "And now?"),
        Message("assistant", "<think>\nnow\n</think>\n\nNow."),
    )
    assert trained_texts(tokenizer, row(tokenizer, talk, template)) == [
        "assistant<|im_end|>",
        "<think>\nnow\n</think>\n\nNow.<|im_end|>",
    ]


def test_an_answer_that_comes_first_is_found(tokenizer: Any) -> None:
    strict = "{%- if messages[0].role == 'nobody' -%}{%- endif -%}" + tokenizer.chat_template
    talk = (Message("assistant", "Welcome."), *TALK[1:3])
    expected = ["Welcome.<|im_end|>", TALK[2].content + "<|im_end|>"]
    assert trained_texts(tokenizer, row(tokenizer, talk, strict)) == expected


def test_a_row_whose_answer_is_hidden_is_refused(tokenizer: Any) -> None:
    upper = tokenizer.chat_template.replace(
        "{{ message['content'] }}", "{{ message['content'] | upper if loop.last else message['content'] | length }}"
    )
    with pytest.raises(DataError, match="changes turn 3 so that its answer cannot be found"):
        row(tokenizer, TALK, upper)


def test_a_template_that_refuses_a_row_gives_its_reason(tokenizer: Any) -> None:
    with pytest.raises(DataError, match="the chat template refuses it: only two turns"):
        row(tokenizer, TALK, "{{ raise_exception('only two turns') }}")


def test_a_long_row_keeps_its_start(tokenizer: Any) -> None:
    whole = row(tokenizer, TALK, tokenizer.chat_template)
    short = row(tokenizer, TALK, tokenizer.chat_template, cutoff_len=20)
    assert (short.input_ids, short.labels) == (whole.input_ids[:20], whole.labels[:20])
    assert short.cut
    assert not whole.cut


def test_the_first_token_gives_no_loss() -> None:
    assert TokenizedRow([5, 6, 7], [5, 6, IGNORED]).trained == 1


def test_plain_text_ends_with_an_end_token(tokenizer: Any) -> None:
    example = Example("x.txt", 1, text="Rivers end in the sea.")
    tokenized = tokenize_example(example, tokenizer, "", Settings(4096, plain_text=True))
    assert tokenizer.decode(tokenized.input_ids) == "Rivers end in the sea.<|im_end|>"
    assert tokenized.labels == tokenized.input_ids


def test_blocks_hold_every_token_in_order() -> None:
    rows = [TokenizedRow([1, 2, 3], [1, 2, 3]), TokenizedRow([4, 5, 6, 7], [4, 5, 6, 7])]
    assert [block.input_ids for block in cut_into_blocks(rows, 5)] == [[1, 2, 3, 4, 5], [6, 7]]
    assert [block.input_ids for block in cut_into_blocks(rows, 3)] == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("example", "plain", "reason"),
    [
        (Example("x", 1, text="a"), False, "it is plain text.*stage.type=pretrain"),
        (Example("x", 1, messages=TALK), True, "it is a conversation.*stage.type=sft"),
    ],
)
def test_rows_of_the_other_stage_are_refused(tokenizer: Any, example: Example, plain: bool, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        tokenize_example(example, tokenizer, tokenizer.chat_template, Settings(64, plain_text=plain))
