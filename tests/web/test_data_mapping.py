"""Columns and roles: what a person clicks means what the registry then says, and an entry shows as what it means."""

from __future__ import annotations

from typing import Any

import pytest

from studio.data.detection import detect_rows
from studio.data.examples import DataError
from studio.data.files import RawRow
from studio.data.reading import example_of
from studio.data.registry import DatasetEntry, read_entry
from studio.web.data_mapping import ROLES, entry_value, placeholders_in, roles_of, turns_of

TURNS = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
ASKED = [{"role": "user", "content": "a"}]
SPOKEN = [{"speaker": "customer", "text": "a"}, {"speaker": "shop", "text": "b"}]

# A row, and what its registry entry says beside the file.
ENTRIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "alpaca": ({"instruction": "a", "input": "b", "output": "c"}, {}),
    "renamed": ({"q": "a", "a": "b", "s": "c"}, {"columns": {"prompt": "q", "response": "a", "system": "s"}}),
    "input is another thing": (
        {"instruction": "a", "input": "b", "output": "c"},
        {"columns": {"query": "", "history": "", "system": ""}},
    ),
    "history": ({"instruction": "a", "output": "c", "history": [["x", "y"]]}, {}),
    "judged": ({"instruction": "a", "output": "b", "label": True}, {"columns": {"kto_tag": "label"}}),
    "preference": ({"instruction": "a", "chosen": "b", "rejected": "c"}, {"ranking": True}),
    "tools beside alpaca": ({"instruction": "a", "output": "b", "tools": "[]"}, {"columns": {"tools": "tools"}}),
    "pictures": ({"instruction": "a", "output": "b", "images": ["x.png"]}, {"columns": {"images": "images"}}),
    "sharegpt": ({"conversations": TURNS}, {"formatting": "sharegpt"}),
    "sharegpt of two answers": (
        {"conversations": TURNS[:1], "chosen": TURNS[1], "rejected": TURNS[1]},
        {"formatting": "sharegpt", "ranking": True},
    ),
    "openai": ({"messages": MESSAGES, "tools": "[]"}, {"formatting": "openai"}),
    "whole conversations": ({"chosen": MESSAGES, "rejected": MESSAGES}, {"formatting": "openai", "ranking": True}),
    "other tags": (
        {"talk": SPOKEN},
        {
            "formatting": "openai",
            "columns": {"messages": "talk"},
            "tags": {"role_tag": "speaker", "content_tag": "text", "user_tag": "customer", "assistant_tag": "shop"},
        },
    ),
    "questions": ({"prompt": "a", "source": "b"}, {"formatting": "prompt"}),
    "text": ({"text": "a", "id": 3}, {"formatting": "text"}),
    "text as LLaMA-Factory names it": ({"story": "a"}, {"columns": {"prompt": "story"}}),
}


def entry_of(value: dict[str, Any]) -> DatasetEntry:
    entry = read_entry("it", {"file_name": "it.json", **{key: inner for key, inner in value.items() if inner}})
    assert isinstance(entry, DatasetEntry), entry
    return entry


def tags_of(entry: DatasetEntry) -> dict[str, str]:
    return dict(entry.tags) if entry.formatting in ("sharegpt", "openai") else {}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_shown_as_roles_and_written_again_means_the_same(name: str) -> None:
    row, value = ENTRIES[name]
    entry = entry_of(value)
    again = entry_of(entry_value(roles_of(entry, list(row)), tags_of(entry), list(row)))
    raw = RawRow("it.json", 1, row)
    assert example_of(raw, again) == example_of(raw, entry)
    assert roles_of(again, list(row)) == roles_of(entry, list(row))


@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in ("renamed", "other tags", "pictures")])
def test_what_detection_says_can_be_shown_and_written(name: str) -> None:
    row = ENTRIES[name][0]
    found = detect_rows([row], "it.json")
    entry = entry_of(found.entry("it.json"))
    again = entry_of(entry_value(roles_of(entry, list(row)), dict(found.tags), list(row)))
    assert example_of(RawRow("it.json", 1, row), again) == example_of(RawRow("it.json", 1, row), entry)


def test_a_column_that_is_not_used_is_not_read_by_its_default_name() -> None:
    row = {"instruction": "a", "input": "secret", "output": "b"}
    value = entry_value({"instruction": "prompt", "output": "response"}, {}, list(row))
    assert "secret" not in repr(example_of(RawRow("x", 1, row), entry_of(value)))
    assert value["columns"] == {"query": ""}


def test_the_format_follows_from_the_roles() -> None:
    formats = {
        "text": {"x": "text"},
        "prompt": {"x": "prompt"},
        None: {"x": "prompt", "y": "response"},
    }
    for expected, roles in formats.items():
        assert entry_value(roles, {}, ["x", "y"])["formatting"] == expected
    talk = {"x": "messages"}
    sharegpt = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"}
    assert entry_value(talk, sharegpt, ["x"])["formatting"] == "sharegpt"
    assert entry_value(talk, {**sharegpt, "role_tag": "role"}, ["x"])["formatting"] == "openai"
    assert entry_value(talk, {"role_tag": "role", "user_tag": "user"}, ["x"])["formatting"] == "prompt"
    asked = entry_of(entry_value({"messages": "messages"}, {"role_tag": "role", "user_tag": "user"}, ["messages"]))
    assert example_of(RawRow("x", 1, {"messages": ASKED}), asked).kind == "prompt"  # type: ignore[union-attr]


def test_roles_that_do_not_exist_are_refused() -> None:
    with pytest.raises(DataError, match="no role 'teacher'"):
        entry_value({"x": "teacher"}, {}, ["x"])
    assert len(set(ROLES)) == len(ROLES)


def test_turns_and_placeholders_are_found_in_rows() -> None:
    rows = [{"talk": SPOKEN, "id": 1}, {"talk": '[{"speaker": "shop", "text": "by {{author}}"}]'}, "no object"]
    assert turns_of(rows)["talk"]["speaker"] == ["shop", "customer"]
    assert set(turns_of(rows)) == {"talk"}
    assert placeholders_in([{"output": ["I am {{name}}", {"x": "{{ other }}"}]}]) == ["name"]
    many = [{"talk": [{"who": f"person {number}", "text": "x" * 90} for number in range(50)]}]
    assert turns_of(many)["talk"] == {"who": [], "text": []}, "names of speakers are few and short"
