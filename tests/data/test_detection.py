"""The format of a file is seen in its rows, and the entry that follows from it reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.data.detection import detect
from studio.data.examples import DataError
from studio.data.reading import read_entry_file
from studio.data.registry import DatasetEntry, read_entry

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
SHARED = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
SAIGA = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "bot", "content": "b"}]
CALL = {"from": "function_call", "value": '{"name": "f", "arguments": {}}'}

CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"instruction": "a", "input": "", "output": "b"}, {}, "chat"),
    ({"instruction": "a", "output": "b", "history": [["c", "d"]]}, {}, "chat"),
    ({"query": "a", "response": "b"}, {"columns": {"prompt": "query", "response": "response"}}, "chat"),
    ({"Question": "a", "Answer": "b"}, {"columns": {"prompt": "Question", "response": "Answer"}}, "chat"),
    (
        {"system": "s", "user": "a", "bot": "b"},
        {"columns": {"prompt": "user", "response": "bot"}},
        "chat",
    ),
    ({"conversations": SHARED}, {"formatting": "sharegpt"}, "chat"),
    (
        {"talk": [{"from": "user", "value": "a"}, {"from": "bot", "value": "b"}]},
        {
            "formatting": "sharegpt",
            "columns": {"messages": "talk"},
            "tags": {"user_tag": "user", "assistant_tag": "bot"},
        },
        "chat",
    ),
    ({"conversations": [SHARED[0], CALL, {"from": "observation", "value": "c"}, SHARED[1]], "tools": "[]"},
     {"formatting": "sharegpt"}, "tools"),
    ({"messages": TURNS}, {"formatting": "openai"}, "chat"),
    ({"messages": SAIGA}, {"formatting": "openai", "tags": {"assistant_tag": "bot"}}, "chat"),
    (
        {"instruction": "a", "chosen": "b", "rejected": "c"},
        {"ranking": True},
        "preference",
    ),
    (
        {"conversations": SHARED[:1], "chosen": SHARED[1], "rejected": SHARED[1]},
        {"formatting": "sharegpt", "ranking": True},
        "preference",
    ),
    ({"chosen": TURNS, "rejected": TURNS}, {"formatting": "openai", "ranking": True}, "preference"),
    (
        {"prompt": "a", "completion": "b", "label": True},
        {"columns": {"prompt": "prompt", "response": "completion", "kto_tag": "label"}},
        "judged",
    ),
    ({"messages": TURNS, "label": False}, {"formatting": "openai", "columns": {"kto_tag": "label"}}, "judged"),
    ({"prompt": "a"}, {"formatting": "prompt"}, "prompt"),
    ({"messages": TURNS[:1]}, {"formatting": "prompt"}, "prompt"),
    ({"text": "a"}, {"formatting": "text"}, "text"),
    ({"id": 3, "content": "a"}, {"formatting": "text", "columns": {"text": "content"}}, "text"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "expected", "kind"), CASES, ids=[str(list(case[0])) for case in CASES])
def test_the_format_is_seen_and_reads_the_rows(
    tmp_path: Path, row: dict[str, Any], expected: dict[str, Any], kind: str
) -> None:
    (tmp_path / "x.jsonl").write_text(f"{json.dumps(row)}\n" * 3, encoding="utf-8")
    detection = detect(tmp_path / "x.jsonl")
    value = detection.entry("x.jsonl")
    assert value == {"file_name": "x.jsonl", **expected}
    assert detection.why
    assert detection.found == tuple(row)
    entry = read_entry("x", value)
    assert isinstance(entry, DatasetEntry)
    assert [example.kind for example in read_entry_file(Workspace(tmp_path), entry).examples] == [kind] * 3


def test_a_table_with_turns_in_its_cells_is_seen(tmp_path: Path) -> None:
    cell = json.dumps(TURNS).replace('"', '""')
    (tmp_path / "x.csv").write_text(f'id,messages\n1,"{cell}"\n', encoding="utf-8")
    assert detect(tmp_path / "x.csv").entry("x.csv") == {"file_name": "x.csv", "formatting": "openai"}


def test_lines_of_text_are_seen(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("one\n", encoding="utf-8")
    assert detect(tmp_path / "x.txt").formatting == "text"


def test_broken_rows_at_the_start_do_not_hide_the_format(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a\n[]\n{"messages": ' + json.dumps(TURNS) + "}\n", encoding="utf-8")
    assert detect(tmp_path / "x.jsonl").formatting == "openai"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"a": 1, "b": 2}\n', "is of no known format. Its columns: a, b"),
        ("[1]\n", "is of no known format. Its columns: list"),
        ('{"a\n', "holds no row that can be read: row 1 of x.jsonl"),
        ("", "holds no row that can be read: it is empty"),
    ],
)
def test_what_cannot_be_told_says_why(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "x.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=reason):
        detect(tmp_path / "x.jsonl")
