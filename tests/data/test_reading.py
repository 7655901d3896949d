"""Rows of every format become Examples, and a row that cannot says where it is and what is wrong with it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.data.examples import DataError, Example, Message, ToolCall
from studio.data.reading import read_datasets, read_entry_file
from studio.data.registry import find_entry, load_registry


def dataset(root: Path, rows: list[Any] | str, file: str = "x.json", **entry: Any) -> Workspace:
    """A workspace with the one dataset `x`; a list becomes JSON or, for a .jsonl file, lines."""
    (root / "data").mkdir(exist_ok=True)
    if isinstance(rows, list):
        rows = "\n".join(map(json.dumps, rows)) if file.endswith("l") else json.dumps(rows)
    (root / "data" / file).write_text(rows, encoding="utf-8")
    (root / "dataset_info.json").write_text(json.dumps({"x": {"file_name": file, **entry}}), encoding="utf-8")
    return Workspace(root)


def one(workspace: Workspace) -> Example:
    """The only example of dataset `x`."""
    (example,) = read_datasets(workspace, ["x"]).examples
    return example


def test_alpaca_rows(tmp_path: Path) -> None:
    row = {
        "system": "Be brief.",
        "history": [["Hi", "Hello"]],
        "instruction": "Translate.",
        "input": "Brot",
        "output": "bread",
    }
    assert one(dataset(tmp_path, [row])) == Example(
        "data/x.json",
        1,
        messages=(
            Message("system", "Be brief."),
            Message("user", "Hi"),
            Message("assistant", "Hello"),
            Message("user", "Translate.\nBrot"),
            Message("assistant", "bread"),
        ),
    )


def test_alpaca_rows_under_other_column_names(tmp_path: Path) -> None:
    workspace = dataset(tmp_path, [{"q": "a", "output": "b"}], columns={"prompt": "q"})
    assert one(workspace).messages == (Message("user", "a"), Message("assistant", "b"))


def test_sharegpt_rows_with_any_tags(tmp_path: Path) -> None:
    turns = [{"who": "S", "says": "sys"}, {"who": "me", "says": "a"}, {"who": "bot", "says": "b"}]
    tags = {"role_tag": "who", "content_tag": "says", "user_tag": "me", "assistant_tag": "bot", "system_tag": "S"}
    workspace = dataset(tmp_path, [{"talk": turns}], formatting="sharegpt", columns={"messages": "talk"}, tags=tags)
    assert one(workspace).messages == (Message("system", "sys"), Message("user", "a"), Message("assistant", "b"))


def test_openai_rows_in_lines_and_an_answer_without_weight(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "weight": 0},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]
    example = one(dataset(tmp_path, [{"messages": turns}], "x.jsonl", formatting="openai"))
    assert [message.trained for message in example.messages] == [None, False, None, None]


@pytest.mark.parametrize(
    ("file", "content", "entry"),
    [
        ("x.txt", "first\n\n\nsecond\n", {}),
        ("x.jsonl", '{"text": "first"}\n{"text": "second"}\n', {"formatting": "text"}),
        ("x.json", '[{"body": "first"}, {"body": "second"}]', {"columns": {"prompt": "body"}}),
    ],
)
def test_plain_text(tmp_path: Path, file: str, content: str, entry: dict[str, Any]) -> None:
    examples = read_datasets(dataset(tmp_path, content, file, **entry), ["x"]).examples
    assert [example.text for example in examples] == ["first", "second"]
    assert all(example.messages == () for example in examples)


@pytest.mark.parametrize(
    ("row", "entry", "reason"),
    [
        ("text", {}, "it is a str, not an object"),
        ({}, {}, "it has no 'instruction'. It has: nothing"),
        ({"instruction": "a"}, {}, "it has no 'output'. It has: instruction"),
        ({"instruction": "a", "output": " "}, {}, "'output' is empty"),
        ({"instruction": "a", "output": 3}, {}, "'output' must be text, but is 3"),
        ({"instruction": " ", "output": "b"}, {}, "'instruction' is empty"),
        ({"instruction": "a", "output": "b", "history": [["x"]]}, {}, "'history' must be a list of"),
        ({"conversations": []}, {"formatting": "sharegpt"}, "'conversations' must be a list of turns"),
        ({"conversations": [{"role": "u"}]}, {"formatting": "sharegpt"}, "turn 1 has no 'from'"),
        ({"conversations": [{"from": "x", "value": "a"}]}, {"formatting": "sharegpt"}, "turn 1 has from='x'"),
        ({"conversations": [{"from": "human", "value": "a"}]}, {"formatting": "sharegpt"}, "it has no answer"),
        ({"conversations": [{"from": "gpt", "value": ""}]}, {"formatting": "sharegpt"}, "'value of turn 1' is empty"),
        ({"conversations": [{"from": "observation", "value": "a"}]}, {"formatting": "sharegpt"}, "is a tool turn"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]},
            {"formatting": "openai"},
            "a system text may only come once, at the start",
        ),
        ({"text": ""}, {"formatting": "text"}, "'text' is empty"),
        ({"instruction": "q", "chosen": "a", "rejected": "b"}, {"ranking": True}, "it holds preferences"),
        ({"instruction": "a", "output": "I am {{name}}"}, {}, "the placeholder {{name}} has no value"),
    ],
)
def test_a_broken_row_is_refused_with_its_place_and_reason(
    tmp_path: Path, row: Any, entry: dict[str, Any], reason: str
) -> None:
    workspace = dataset(tmp_path, [row], **entry)
    with pytest.raises(DataError) as caught:
        read_datasets(workspace, ["x"])
    assert "row 1 of data/x.json: " in str(caught.value)
    assert reason in str(caught.value)


def test_all_broken_rows_are_counted_and_the_first_ten_named(tmp_path: Path) -> None:
    good = {"instruction": "a", "output": "b"}
    workspace = dataset(tmp_path, [good, *[{"instruction": "a"}] * 25, good])
    reading = read_datasets(workspace, ["x"], strict=False)
    assert (len(reading.examples), reading.broken) == (2, 25)
    assert [bad.row for bad in reading.named] == list(range(2, 12))
    with pytest.raises(DataError, match="25 rows cannot be used") as caught:
        read_datasets(workspace, ["x"])
    assert "row 2 of" in str(caught.value)
    assert "and 15 more broken rows" in str(caught.value)


def test_a_broken_line_names_its_line(tmp_path: Path) -> None:
    workspace = dataset(tmp_path, '{"instruction": "a", "output": "b"}\n\n{"instr\n', "x.jsonl")
    with pytest.raises(DataError, match=r"row 3 of data/x\.jsonl: it is not valid JSON"):
        read_datasets(workspace, ["x"])


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("x.json", "[1", r"data/x\.json is not valid JSON: .* in line 1, column 3"),
        ("x.json", '{"a": 1}', "must hold a list of rows, but holds a dict"),
        ("x.json", '{"a": 1}\n{"a": 2}', r"holds one object a line. Rename it to x\.jsonl"),
        ("x.json", "[]", "holds no rows"),
        ("x.jsonl", "\n", "holds no rows"),
        ("x.xlsx", "PK", r"\.xlsx is not supported, only \.json, \.jsonl, .* Convert it"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, file: str, content: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_datasets(dataset(tmp_path, content, file), ["x"])


def test_a_file_in_another_encoding_says_so(tmp_path: Path) -> None:
    workspace = dataset(tmp_path, [])
    (tmp_path / "data" / "x.json").write_bytes('["ü"]'.encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_datasets(workspace, ["x"])


def test_placeholders_are_filled_everywhere(tmp_path: Path) -> None:
    row = {"instruction": "Hi {{ name }}", "output": "I am {{name}} by {{author}}.", "system": "{{name}}"}
    workspace = dataset(tmp_path, [row], fill={"name": "Lumen", "author": "Studio"})
    contents = [message.content for message in one(workspace).messages]
    assert contents == ["Lumen", "Hi Lumen", "I am Lumen by Studio."]


def test_double_braces_are_text_where_nothing_is_to_be_filled(tmp_path: Path) -> None:
    row = {"instruction": "Write jinja", "output": "{{ item }}"}
    assert one(dataset(tmp_path, [row])).messages[-1].content == "{{ item }}"


def test_max_samples_and_num_samples(tmp_path: Path) -> None:
    rows = [{"instruction": str(n), "output": "b"} for n in range(10)]
    first = read_datasets(dataset(tmp_path, rows), ["x", "x"], max_samples=3).examples
    assert [example.row for example in first] == [1, 2, 3, 1, 2, 3]
    drawn = [read_datasets(dataset(tmp_path, rows, num_samples=14), ["x"], seed=7).examples for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 14
    assert {example.row for example in drawn[0]} == set(range(1, 11))


def kinds(workspace: Workspace) -> list[str]:
    """The kind of each example of dataset `x`."""
    return [example.kind for example in read_entry_file(workspace, find_entry(load_registry(workspace), "x")).examples]


def every(workspace: Workspace) -> Example:
    """The only example of dataset `x`, of whatever kind."""
    (example,) = read_entry_file(workspace, find_entry(load_registry(workspace), "x")).examples
    return example


def test_sharegpt_tools_calls_and_results(tmp_path: Path) -> None:
    turns = [
        {"from": "human", "value": "Rain in Rome?"},
        {"from": "function_call", "value": '{"name": "rain", "arguments": {"city": "Rome"}}'},
        {"from": "observation", "value": '{"mm": 0}'},
        {"from": "gpt", "value": "No."},
    ]
    row = {"conversations": turns, "tools": '[{"name": "rain"}]'}
    example = every(dataset(tmp_path, [row], formatting="sharegpt"))
    assert example.messages == (
        Message("user", "Rain in Rome?"),
        Message("assistant", "", calls=(ToolCall("rain", '{"city": "Rome"}'),)),
        Message("tool", '{"mm": 0}'),
        Message("assistant", "No."),
    )
    assert (example.tools, example.kind) == ('[{"name": "rain"}]', "tools")


def test_rows_with_tools_are_trained_on(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    workspace = dataset(tmp_path, [{"conversations": turns, "tools": '[{"name": "a"}]'}], formatting="sharegpt")
    assert [example.kind for example in read_datasets(workspace, ["x"]).examples] == ["tools"]


def test_openai_tools_calls_results_and_parts(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "rain", "arguments": '{"city": "Rome"}'}}
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Rain "}, {"type": "text", "text": "in Rome?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "0 mm"},
        {"role": "assistant", "content": "No."},
    ]
    tools = [{"type": "function", "function": {"name": "rain", "parameters": {}}}]
    example = every(dataset(tmp_path, [{"messages": turns, "tools": tools}], formatting="openai"))
    assert example.messages == (
        Message("system", "Be brief."),
        Message("user", "Rain in Rome?"),
        Message("assistant", "", calls=(ToolCall("rain", '{"city": "Rome"}', "c1"),)),
        Message("tool", "0 mm", call_id="c1"),
        Message("assistant", "No."),
    )
    assert json.loads(example.tools) == tools


def test_no_system_text_is_ever_added(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert one(dataset(tmp_path, [{"messages": turns}], formatting="openai")).messages[0].role == "user"


def test_system_user_bot_records(tmp_path: Path) -> None:
    turns = [{"role": role, "content": role} for role in ("system", "user", "bot")]
    workspace = dataset(tmp_path, [{"messages": turns}], formatting="openai", tags={"assistant_tag": "bot"})
    assert one(workspace).messages == (
        Message("system", "system"),
        Message("user", "user"),
        Message("assistant", "bot"),
    )


def test_query_and_response(tmp_path: Path) -> None:
    row = {"query": "a", "response": "b", "history": [["c", "d"]]}
    workspace = dataset(tmp_path, [row], columns={"prompt": "query", "response": "response"})
    assert [message.content for message in one(workspace).messages] == ["c", "d", "a", "b"]


@pytest.mark.parametrize(
    ("row", "entry"),
    [
        ({"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"}, {}),
        (
            {
                "conversations": [{"from": "human", "value": "q"}],
                "chosen": {"from": "gpt", "value": "good"},
                "rejected": {"from": "gpt", "value": "bad"},
            },
            {"formatting": "sharegpt"},
        ),
        (
            {
                "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}],
                "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "bad"}],
            },
            {"formatting": "openai"},
        ),
        (
            {
                "prompt": [{"role": "user", "content": "q"}],
                "chosen": [{"role": "assistant", "content": "good"}],
                "rejected": [{"role": "assistant", "content": "bad"}],
            },
            {"formatting": "openai", "columns": {"messages": "prompt"}},
        ),
    ],
)
def test_preferences(tmp_path: Path, row: dict[str, Any], entry: dict[str, Any]) -> None:
    example = every(dataset(tmp_path, [row], ranking=True, **entry))
    assert example.messages == (Message("user", "q"),)
    assert example.chosen == Message("assistant", "good")
    assert example.rejected == Message("assistant", "bad")
    assert example.kind == "preference"


@pytest.mark.parametrize(("value", "label"), [(True, True), (0, False), ("False", False), ("1", True)])
def test_judged_answers(tmp_path: Path, value: Any, label: bool) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    alpaca = dataset(tmp_path, [{"instruction": "a", "output": "b", "ok": value}], columns={"kto_tag": "ok"})
    assert (every(alpaca).label, every(alpaca).kind) == (label, "judged")
    openai = dataset(tmp_path, [{"messages": turns, "ok": value}], formatting="openai", columns={"kto_tag": "ok"})
    assert every(openai).label is label


def test_prompts_alone(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "system": "s"}, {"prompt": [{"role": "user", "content": "q"}]}]
    workspace = dataset(tmp_path, rows, formatting="prompt")
    assert kinds(workspace) == ["prompt", "prompt"]


def test_pictures_are_named(tmp_path: Path) -> None:
    row = {"instruction": "a", "output": "b", "pics": ["a.png", {"bytes": ""}]}
    example = every(dataset(tmp_path, [row], columns={"images": "pics"}))
    assert (example.media, example.kind) == (("a.png", "pics[1]"), "media")


def test_a_table_may_hold_turns_as_json_text(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    workspace = dataset(tmp_path, "", "x.csv", formatting="sharegpt")
    with (tmp_path / "data" / "x.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["conversations", "tools"], [json.dumps(turns), ""]])
    assert one(workspace).messages == (Message("user", "a"), Message("assistant", "b"))


@pytest.mark.parametrize(
    ("row", "entry", "reason"),
    [
        ({"prompt": "a"}, {"formatting": "prompt"}, "it has no answer, only a prompt"),
        ({"instruction": "a", "output": "b", "l": True}, {"columns": {"kto_tag": "l"}}, "it judges an answer"),
        ({"instruction": "a", "output": "b", "i": ["x"]}, {"columns": {"images": "i"}}, "it has pictures"),
    ],
)
def test_the_worker_refuses_what_it_cannot_train(tmp_path: Path, row: Any, entry: dict[str, Any], reason: str) -> None:
    workspace = dataset(tmp_path, [row], **entry)
    with pytest.raises(DataError, match=reason):
        read_datasets(workspace, ["x"])
    assert len(kinds(workspace)) == 1
