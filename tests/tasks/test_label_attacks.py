"""Conversations and templates that would lead astray: only the answers with their end tokens are learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.data.examples import Example, Message, Role, ToolCall
from studio.tasks.templates import read_template
from studio.tasks.tokenize import IGNORED, Settings, tokenize_example

pytestmark = pytest.mark.slow

CHATML = read_template("chatml")
USER, ASSISTANT, END = "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>"


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer_folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_tokenizer_folder)


def talk(*turns: str) -> tuple[Message, ...]:
    """Turns in order, the user's first."""
    roles: tuple[Role, Role] = ("user", "assistant")
    return tuple(Message(roles[number % 2], text) for number, text in enumerate(turns))


def shown(tokenizer: Any, template: str, messages: tuple[Message, ...], **settings: Any) -> str:
    """The row as text, with what is learnt in double brackets."""
    example = Example("x.json", 1, messages=messages)
    row = tokenize_example(example, tokenizer, template, Settings(**{"cutoff_len": 10_000, **settings}))
    text, learnt, run = "", False, list[int]()
    for token, label in [*zip(row.input_ids, row.labels, strict=True), (None, IGNORED)]:
        if (label != IGNORED) != learnt or token is None:
            text += f"[[{tokenizer.decode(run)}]]" if learnt else tokenizer.decode(run)
            learnt, run = not learnt, []
        run += [token] if token is not None else []
    return text


def test_white_space_behind_the_end_token_is_not_learnt(tokenizer: Any) -> None:
    text = shown(tokenizer, CHATML, talk("q", "a", "r", "b"))
    assert text == f"{USER}q{END}\n{ASSISTANT}[[a{END}]]\n{USER}r{END}\n{ASSISTANT}[[b{END}]]\n"


def test_white_space_of_the_answer_itself_is_learnt(tokenizer: Any) -> None:
    assert shown(tokenizer, CHATML, talk("q ", " a \n")) == f"{USER}q {END}\n{ASSISTANT}[[ a \n{END}]]\n"


def test_a_question_that_quotes_the_whole_answer_is_not_learnt(tokenizer: Any) -> None:
    quoted = f"{ASSISTANT}a{END}\n{ASSISTANT}a{END}"
    assert shown(tokenizer, CHATML, talk(quoted, "a")) == f"{USER}{quoted}{END}\n{ASSISTANT}[[a{END}]]\n"


def test_an_answer_that_quotes_the_next_question_is_learnt_whole(tokenizer: Any) -> None:
    quoted = f"a{END}\n{USER}b"
    expected = f"{USER}q{END}\n{ASSISTANT}[[{quoted}{END}]]\n{USER}b{END}\n{ASSISTANT}[[c{END}]]\n"
    assert shown(tokenizer, CHATML, talk("q", quoted, "b", "c")) == expected


def test_a_conversation_that_ends_with_a_question(tokenizer: Any) -> None:
    text = shown(tokenizer, CHATML, talk("q", "a", "a"))
    assert text == f"{USER}q{END}\n{ASSISTANT}[[a{END}]]\n{USER}a{END}\n"
    bare = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    bare += "{% if add_generation_prompt %}assistant:{% endif %}"
    assert shown(tokenizer, bare, talk("q", "a", "a")) == "user: q\nassistant:[[ a]]\nuser: a\n"


def test_two_answers_in_a_row(tokenizer: Any) -> None:
    messages = (*talk("q", "ab"), Message("assistant", "a"), Message("assistant", "abc", trained=False))
    expected = f"{USER}q{END}\n{ASSISTANT}[[ab{END}]]\n{ASSISTANT}[[a{END}]]\n{ASSISTANT}abc{END}\n"
    assert shown(tokenizer, CHATML, messages) == expected
    assert "[[" not in shown(tokenizer, CHATML, messages, mask_history=True)


def test_answers_that_begin_each_other(tokenizer: Any) -> None:
    text = shown(tokenizer, CHATML, talk("a", "a", "aa", "aa", "a", "aaa"))
    assert text.count("[[") == 3
    assert [part.split("]]")[0] for part in text.split("[[")[1:]] == [f"a{END}", f"aa{END}", f"aaa{END}"]


@pytest.mark.parametrize("answer", ["", " ", "\n\n"])
def test_a_blank_answer_is_its_end_token(tokenizer: Any, answer: str) -> None:
    expected = f"{USER}q{END}\n{ASSISTANT}[[{answer}{END}]]\n{USER}r{END}\n{ASSISTANT}[[b{END}]]\n"
    assert shown(tokenizer, CHATML, talk("q", answer, "r", "b")) == expected


def test_a_template_that_strips(tokenizer: Any) -> None:
    stripping = CHATML.replace("+ message.content +", "+ message.content | trim +")
    assert shown(tokenizer, stripping, talk(" q", "\n a ")) == f"{USER}q{END}\n{ASSISTANT}[[a{END}]]\n"


def test_a_cut_in_the_midst_of_an_answer_learns_what_is_left(tokenizer: Any) -> None:
    for length in range(1, 40):
        whole = shown(tokenizer, CHATML, talk("q", "one two three"))
        cut = shown(tokenizer, CHATML, talk("q", "one two three"), cutoff_len=length)
        assert whole.startswith(cut.removesuffix("]]")) and cut.count("[[") == cut.count("]]")


@pytest.mark.parametrize("opening", ["assistant:", "assistant: "])
def test_a_space_is_the_answers_if_the_template_leaves_it_to_the_model(tokenizer: Any, opening: str) -> None:
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
    template += "{% if add_generation_prompt %}" + opening + "{% endif %}"
    text = shown(tokenizer, template, talk("q", "\na"))
    space = opening.removeprefix("assistant:")
    assert text == f"user: q{END}assistant:{space}[[{' ' if not space else ''}\na{END}]]"


def test_an_answer_first_under_a_template_that_wants_a_question(tokenizer: Any) -> None:
    """The conversation that ends with the greeting cannot be rendered; the whole can."""
    strict = (
        "{%- if 'user' not in messages | map(attribute='role') -%}{{ raise_exception('no question') }}{%- endif -%}"
    )
    messages = (Message("assistant", "Welcome."), *talk("q", "a"))
    expected = f"{ASSISTANT}[[Welcome.{END}]]\n{USER}q{END}\n{ASSISTANT}[[a{END}]]\n"
    assert shown(tokenizer, strict + CHATML, messages) == expected


def test_marks_of_the_template_hold_for_calls_too(tokenizer: Any) -> None:
    """Thoughts of earlier turns are dropped, so what is generated is said by the template alone."""
    marked = (
        "{%- if tools -%}{{ tools | tojson }}\n{%- endif -%}{%- for m in messages -%}<|im_start|>{{ m.role }}\n"
        "{%- if m.role == 'assistant' -%}{% generation %}"
        "{{- m.content if loop.last else m.content.split('</think>')[-1] -}}"
        "{%- for call in m.tool_calls or [] -%}{{ call.function | tojson }}{%- endfor -%}{{ '<|im_end|>' }}"
        "{%- endgeneration %}{%- else -%}{{ m.content }}<|im_end|>{%- endif -%}{{ '\n' }}{%- endfor -%}"
        "{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}"
    )
    messages = (
        Message("user", "q"),
        Message("assistant", "<think>x</think>", calls=(ToolCall("f", '{"a": 1}'),)),
        Message("tool", "r"),
        Message("assistant", "<think>y</think>b"),
    )
    example = Example("x.json", 1, messages=messages, tools='[{"name": "f"}]')
    row = tokenize_example(example, tokenizer, marked, Settings(10_000))
    learnt = tokenizer.decode([label for label in row.labels if label != IGNORED])
    assert learnt == '{"name": "f", "arguments": {"a": 1}}<|im_end|><think>y</think>b<|im_end|>'


def test_special_tokens_in_words_close_no_answer(tokenizer: Any) -> None:
    """A template without end tokens gets one behind the last answer, whatever the question ends with."""
    bare = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    bare += "{% if add_generation_prompt %}assistant:{% endif %}"
    text = shown(tokenizer, bare, talk(f"q{END}", "a"))
    assert text == f"user: q{END}\nassistant:[[ a{END}]]"
