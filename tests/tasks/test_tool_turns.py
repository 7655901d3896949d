"""Tools, calls and results are shown to the model as its template has them, calls are learnt, and results never are."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from studio.config.templates import TEMPLATE_NAMES
from studio.data.examples import DataError, Example, Message, ToolCall
from studio.tasks.rendering import render
from studio.tasks.spans import Conversation
from studio.tasks.templates import read_template, tool_template_names
from studio.tasks.tokenize import IGNORED, Settings, TokenizedRow, tokenize_example
from studio.tasks.tools import Form, as_tools, as_turns

pytestmark = pytest.mark.slow

RAIN = {
    "name": "rain",
    "description": "Says how much it rained.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Where."}},
        "required": ["city"],
    },
}
TOOLS = json.dumps([RAIN])
CALL = ToolCall("rain", '{"city": "Rome"}')
TALK = (
    Message("user", "Did it pour there?"),
    Message("assistant", "", calls=(CALL,)),
    Message("tool", '{"millimetres": 0}'),
    Message("assistant", "Not a drop."),
    Message("user", "And in the north?"),
    Message("assistant", "", calls=(ToolCall("rain", '{"city": "Oslo"}'),)),
    Message("tool", "twelve"),
    Message("assistant", "Quite a lot."),
)

# One line a turn: {calls} and {results} say how the two are written.
SKETCH = (
    "{{%- if tools -%}}{{{{ tools | tojson }}}}\n{{%- endif -%}}"
    "{{%- for m in messages -%}}"
    "{{%- if m.tool_calls -%}}<|im_start|>assistant\n{{{{ m.content }}}}{calls}<|im_end|>\n"
    "{{%- elif m.role == 'tool' -%}}{results}"
    "{{%- else -%}}<|im_start|>{{{{ m.role }}}}\n{{{{ m.content }}}}<|im_end|>\n{{%- endif -%}}{{%- endfor -%}}"
    "{{%- if add_generation_prompt -%}}<|im_start|>assistant\n{{% endif -%}}"
)
CALLS = "{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}"
RESULTS = "<|im_start|>tool\n{{ m.content }}<|im_end|>\n"


def sketch(calls: str = CALLS, results: str = RESULTS) -> str:
    return SKETCH.format(calls=calls, results=results)


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer_folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_tokenizer_folder)


def row(tokenizer: Any, template: str, messages: tuple[Message, ...] = TALK, tools: str = TOOLS) -> TokenizedRow:
    example = Example("x.json", 1, messages=messages, tools=tools)
    return tokenize_example(example, tokenizer, template, Settings(100_000))


def learnt(tokenizer: Any, tokenized: TokenizedRow) -> list[str]:
    """The text of each unbroken run of learnt tokens."""
    runs: list[list[int]] = [[]]
    for label in tokenized.labels:
        if label != IGNORED:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


def test_calls_are_learnt_whole_and_results_never(tokenizer: Any) -> None:
    texts = learnt(tokenizer, row(tokenizer, read_template("chatml")))
    call = '<tool_call>\n{{"name": "rain", "arguments": {{"city": "{}"}}}}\n</tool_call><|im_end|>'
    assert texts == [call.format("Rome"), "Not a drop.<|im_end|>", call.format("Oslo"), "Quite a lot.<|im_end|>"]


def test_a_call_of_weight_zero_is_not_learnt(tokenizer: Any) -> None:
    talk = (TALK[0], Message("assistant", "", trained=False, calls=(CALL,)), *TALK[2:4])
    assert learnt(tokenizer, row(tokenizer, read_template("chatml"), talk)) == ["Not a drop.<|im_end|>"]


def test_tools_are_shown_even_where_none_is_called(tokenizer: Any) -> None:
    talk = (TALK[0], TALK[3])
    text = tokenizer.decode(row(tokenizer, read_template("chatml"), talk).input_ids)
    assert json.dumps({"type": "function", "function": RAIN}) in text


@pytest.mark.parametrize("name", sorted(set(TEMPLATE_NAMES) - {"chatml", "llama3", "mistral", "qwen"}))
@pytest.mark.parametrize("messages", [TALK, TALK[:2], (TALK[0], TALK[3])], ids=["all", "call", "offered"])
def test_a_shipped_template_without_tools_is_refused(tokenizer: Any, name: str, messages: tuple[Message, ...]) -> None:
    with pytest.raises(DataError, match=r"the chat template .* a place for tools: chatml, llama3, mistral, qwen\.$"):
        row(tokenizer, read_template(name), messages)
    assert tool_template_names() == ("chatml", "llama3", "mistral", "qwen")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (sketch().replace("{{ tools | tojson }}", ""), "leaves out the tool rain"),
        (sketch().replace("tools | tojson", "tools | length"), "leaves out the tool rain"),
        (sketch(calls=""), "leaves out the .* of rain in turn 2"),
        (sketch(calls="{{ m.tool_calls[0].function.name }}"), "leaves out the argument city of rain in turn 2"),
        (sketch(calls="{{ m.tool_calls[0].function.arguments | tojson }}"), "leaves out the call of rain in turn 2"),
        (sketch(results=""), "leaves out the result in turn 3"),
        (sketch(results="{{ m.tool_call_id }}"), "leaves out the result in turn 3"),
    ],
    ids=["no tools", "count of tools", "no call", "no arguments", "no name", "no result", "result's id"],
)
def test_what_a_template_would_lose_is_named(tokenizer: Any, template: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        row(tokenizer, template)


def test_a_second_call_and_words_beside_a_call_may_not_be_lost(tokenizer: Any) -> None:
    two = (TALK[0], Message("assistant", "", calls=(CALL, ToolCall("rain", '{"city": "Bari"}'))), *TALK[2:4])
    with pytest.raises(DataError, match=r"leaves out the .* of rain in turn 2"):
        row(tokenizer, sketch(calls="{{ m.tool_calls[0].function | tojson }}"), two)
    beside = (TALK[0], Message("assistant", "I look.", calls=(CALL,)), *TALK[2:4])
    assert learnt(tokenizer, row(tokenizer, sketch(), beside))[0].startswith('I look.{"name": "rain"')
    with pytest.raises(DataError, match="leaves out the words beside the call in turn 2"):
        row(tokenizer, sketch().replace("assistant\n{{ m.content }}", "assistant\n"), beside)


@pytest.mark.parametrize(
    "calls",
    [
        "{{ m.tool_calls[0].function.name + ' ' + m.tool_calls[0].function.arguments }}",
        "{{ m.tool_calls[0].function.name ~ ' ' ~ m.tool_calls[0].function.arguments }}",
        "{{ m.tool_calls[0].function.name }} {{ m.tool_calls[0].function.arguments }}",
    ],
)
def test_a_template_that_wants_arguments_as_text_gets_them_as_text(tokenizer: Any, calls: str) -> None:
    """Two of these would write a mapping down the way Python shows it, with single quotes."""
    assert learnt(tokenizer, row(tokenizer, sketch(calls)))[0] == 'rain {"city": "Rome"}<|im_end|>'


def test_a_template_that_demands_ids_of_nine_letters_gets_them(tokenizer: Any) -> None:
    strict = "{% for c in m.tool_calls %}{{ c.function | tojson }}#{{ c.id }}{% if c.id | length != 9 %}"
    strict += "{{ raise_exception('nine') }}{% endif %}{% endfor %}"
    results = "<|im_start|>tool\n{{ m.content }}#{{ m.tool_call_id }}<|im_end|>\n"
    for given in ("", "call_abcdefgh"):
        talk = (
            TALK[0],
            Message("assistant", "", calls=(ToolCall("rain", '{"city": "Rome"}', given),)),
            Message("tool", "twelve", call_id=given),
            TALK[3],
        )
        tokenized = row(tokenizer, sketch(strict, results), talk)
        made = learnt(tokenizer, tokenized)[0].removesuffix("<|im_end|>").partition("#")[2]
        assert len(made) == 9 and made.isalnum()
        assert f"twelve#{made}" in tokenizer.decode(tokenized.input_ids)
        assert row(tokenizer, sketch(strict, results), talk) == tokenized


def test_results_find_their_calls() -> None:
    calls = (ToolCall("a", "{}", "x"), ToolCall("b", "{}", "y"))
    by_id = as_turns((Message("assistant", "", calls=calls), Message("tool", "1", call_id="y"), Message("tool", "2")))
    assert [(turn["tool_call_id"], turn["name"]) for turn in by_id[1:]] == [("y", "b"), ("x", "a")]
    unnamed = (ToolCall("a", "{}"), ToolCall("b", "{}"))
    in_order = as_turns((Message("assistant", "", calls=unnamed), *(Message("tool", text) for text in "123")))
    assert [turn["name"] for turn in in_order[1:]] == ["a", "b", "b"]
    assert [turn["tool_call_id"] for turn in in_order[1:3]] == [call["id"] for call in in_order[0]["tool_calls"]]


def test_a_fault_of_the_row_is_not_laid_on_the_template(tokenizer: Any) -> None:
    talk = (TALK[0], Message("assistant", "", calls=(ToolCall("rain", "[1]"),)))
    with pytest.raises(DataError, match=r"^the arguments of rain must be an object, but are \[1\]\.$"):
        row(tokenizer, read_template("chatml"), talk)


def test_arguments_are_a_mapping_or_text() -> None:
    (mapping,) = as_turns((Message("assistant", "", calls=(CALL,)),))
    assert mapping["tool_calls"][0]["function"] == {"name": "rain", "arguments": {"city": "Rome"}}
    (text,) = as_turns((Message("assistant", "", calls=(CALL,)),), Form(text=True))
    assert text["tool_calls"][0]["function"] == {"name": "rain", "arguments": '{"city": "Rome"}'}
    with pytest.raises(DataError, match="the arguments of rain must be an object, but are 5"):
        as_turns((Message("assistant", "", calls=(ToolCall("rain", "5"),)),))


@pytest.mark.parametrize("tools", [RAIN, [RAIN], [{"type": "function", "function": RAIN}]])
def test_tools_come_in_several_forms(tools: Any) -> None:
    assert as_tools(json.dumps(tools)) == [{"type": "function", "function": RAIN}]
    assert as_tools("") is None
    with pytest.raises(DataError, match="one of its tools has no name"):
        as_tools('[{"title": "rain"}]')


def test_a_row_without_tools_is_rendered_as_before(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No further rendering, and nothing about tools is handed to the template."""
    seen: list[Any] = []

    def watched(tokenizer: Any, template: str, turns: Any, tools: Any, prompt: bool) -> str:
        seen.append((turns, tools))
        return render(tokenizer, template, turns, tools, prompt)

    monkeypatch.setattr("studio.tasks.spans.render", watched)
    conversation = Conversation((TALK[0], TALK[3]), tokenizer, read_template("chatml"))
    assert conversation.text
    assert seen == [
        ([{"role": "user", "content": TALK[0].content}, {"role": "assistant", "content": "Not a drop."}], None)
    ]


def test_qwen_turns_are_those_of_the_models_own_template(tokenizer: Any) -> None:
    """But for the instructions in the system message, which are in words of our own."""
    own = (trl_templates() / "qwen2_5.jinja").read_text(encoding="utf-8")
    talk = (Message("system", "Be brief."), *TALK[:3], Message("tool", "and wind"), *TALK[3:])
    texts = [Conversation(talk, tokenizer, template, TOOLS).text for template in (own, read_template("qwen"))]
    first, second = (text.partition("<|im_end|>\n")[2] for text in texts)
    assert first == second != ""


def trl_templates() -> Path:
    """The folder of chat templates of many families that TRL brings along."""
    spec = find_spec("trl")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "chat_templates"


KNOWN = [
    "gemma4_v5",
    "glm4moe",
    "gptoss",
    "lfm2_2_5",
    "llama3_1",
    "qwen2_5",
    "qwen3",
    "qwen3_5_think",
    "qwen3_training",
]


@pytest.mark.parametrize("name", sorted(path.stem for path in trl_templates().glob("*.jinja")))
def test_under_any_template_of_the_field_calls_are_learnt_or_the_row_is_refused(tokenizer: Any, name: str) -> None:
    template = (trl_templates() / f"{name}.jinja").read_text(encoding="utf-8")
    try:
        tokenized = row(tokenizer, template)
    except DataError:
        assert name not in KNOWN
        return
    text = "\n".join(learnt(tokenizer, tokenized))
    assert all(word in text for word in ("Rome", "Oslo", "Not a drop.", "Quite a lot."))
    assert not [word for word in ("pour", "north", "millimetres", "twelve", "how much") if word in text]


def test_a_result_that_hangs_on_its_call_is_not_learnt_with_it(tokenizer: Any) -> None:
    """As with Gemma 4, call and result are one turn here, and a result whose call is gone is dropped."""
    calls = CALLS + "{% if not loop.last %}={{ messages[loop.index0 + 1].content }}{% endif %}"
    with pytest.raises(DataError, match="changes turn 2 so that its answer cannot be found"):
        row(tokenizer, sketch(calls, results=""))


def test_calls_are_found_where_the_template_moves_the_tools(tokenizer: Any) -> None:
    """As with Mistral, the tools stand before the last question, and words and questions must alternate."""
    strict = (
        "{%- set asked = messages | selectattr('role', 'equalto', 'user') | list -%}{%- set ns = namespace(n=0) -%}"
    )
    strict += "{%- for m in messages if not m.tool_calls and m.role != 'tool' -%}"
    strict += "{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('in turn') }}{%- endif -%}"
    strict += "{%- endfor -%}"
    moving = sketch().replace("{%- if tools -%}{{ tools | tojson }}\n{%- endif -%}", strict)
    moving = moving.replace(
        "{%- else -%}", "{%- else -%}{%- if tools and m == asked[-1] -%}{{ tools | tojson }}{% endif %}"
    )
    texts = learnt(tokenizer, row(tokenizer, moving))
    call = '{{"name": "rain", "arguments": {{"city": "{}"}}}}<|im_end|>'
    assert texts == [call.format("Rome"), "Not a drop.<|im_end|>", call.format("Oslo"), "Quite a lot.<|im_end|>"]


def test_a_training_on_tools_lowers_the_loss(train: Callable[..., Any], add_dataset: Callable[..., None]) -> None:
    cities = ["Rome", "Oslo", "Bari", "Lima", "Cork", "Bonn"]
    talks = [
        [
            {"from": "human", "value": f"Rain in {city}?"},
            {"from": "function_call", "value": json.dumps({"name": "rain", "arguments": {"city": city}})},
            {"from": "observation", "value": f"{number} mm"},
            {"from": "gpt", "value": f"It rained {number} mm in {city}."},
        ]
        for number, city in enumerate(cities)
    ]
    tools = json.dumps([{"name": "rain", "parameters": {}}])
    add_dataset("rain", [{"conversations": talk, "tools": tools} for talk in talks], formatting="sharegpt")
    changes = {
        "data": {"datasets": ["rain"], "cutoff_len": 512},
        "model": {"path": "models/tiny", "chat_template": "chatml"},
        "optimisation": {"max_steps": 24, "gradient_accumulation_steps": 1},
    }
    with pytest.raises(DataError, match="leaves out the tool rain"):
        train("own", {**changes, "model": {"path": "models/tiny"}})
    run = train("run", changes)
    assert run.code == 0
    assert "6 rows of 6" in run.notices and "cut" not in run.notices
    assert sum(run.losses[-4:]) / 4 < sum(run.losses[:4]) / 4 - 0.5
