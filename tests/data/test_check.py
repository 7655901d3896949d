"""A check finds what is wrong, names the row, and counts it once under its name."""

from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.data.check import check_dataset, check_rows
from studio.data.damage import damage, script
from studio.data.duplicates import Near
from studio.data.examples import Example, Message
from studio.data.report import NAMED, Report


def checked(root: Path, rows: list[Any], **options: Any) -> Report:
    """The report on alpaca rows given as objects or as lines of a file."""
    (root / "data").mkdir(exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (root / "data" / "x.jsonl").write_text("\n".join(lines), encoding="utf-8")
    registry = {"x": {"file_name": "x.jsonl"}, "held": {"file_name": "held.jsonl"}}
    (root / "dataset_info.json").write_text(json.dumps(registry), encoding="utf-8")
    return check_dataset(Workspace(root), "x", **options)


def alpaca(question: str, answer: str) -> dict[str, str]:
    return {"instruction": question, "output": answer}


GOOD = alpaca("What is the capital of France?", "Paris.")


@pytest.mark.parametrize(
    ("row", "kind", "text"),
    [
        ('{"instruction": "a", ', "not_json", "it is not valid JSON"),
        ([1], "type", "it is a list, not an object"),
        ({"instruction": "a"}, "missing", "it has no 'output'"),
        (alpaca("a", "  "), "empty", "'output' is empty"),
        (alpaca("a", "\ud800"), "encoding", "half a character"),
        (alpaca("a", "caf\ufffd"), "damaged", "character 4 is U+FFFD"),
        (alpaca("a", "cafÃ©"), "damaged", "looks like UTF-8 that was read in another encoding"),
        (alpaca("a", "I am {{name}}"), "placeholder", "{{name}} has no value"),
        (alpaca("a", "b" * 401), "long", "about 100 tokens, and the cutoff is 100"),
    ],
)
def test_a_finding_names_its_row(tmp_path: Path, row: Any, kind: str, text: str) -> None:
    report = checked(tmp_path, [GOOD, row], cutoff=100)
    assert report.counts == {kind: 1}
    (found,) = report.named[kind]
    assert str(found).startswith("row 2 of data/x.jsonl: ")
    assert text in found.text
    assert (report.rows, report.rows_with([kind])) == (2, {1})


def test_a_clean_set_has_no_findings(tmp_path: Path) -> None:
    report = checked(tmp_path, [GOOD, alpaca("Кто ты?", "Модель."), alpaca("你是谁?", "我是模型。")], cutoff=100)
    assert not report.counts
    assert report.kinds == {"chat": 3}
    assert report.scripts == {"Latin": 1, "Cyrillic": 1, "Chinese": 1}
    assert report.explain()[-1] == "Nothing was found."


def test_duplicates_name_the_row_that_came_first(tmp_path: Path) -> None:
    report = checked(tmp_path, [alpaca("a", "b"), GOOD, "", alpaca("a", "b"), alpaca("b", "a"), GOOD])
    assert [str(found) for found in report.named["duplicate"]] == [
        "row 4 of data/x.jsonl: it is the same as row 1 of data/x.jsonl.",
        "row 6 of data/x.jsonl: it is the same as row 2 of data/x.jsonl.",
    ]
    assert report.counts == {"duplicate": 2}


def test_near_duplicates_in_words_and_in_signs(tmp_path: Path) -> None:
    text = "The river runs past the old mill and under seven bridges before it meets the sea in the far north."
    han = "从前有一条河流过古老的磨坊穿过七座桥最后在遥远的北方流入大海它的两岸开满了花"
    rows = [
        alpaca("Tell", text),
        alpaca("Tell", text.replace(".", "!") + " Yes"),
        alpaca("说", han),
        alpaca("说", han + "朵"),
    ]
    report = checked(tmp_path, rows)
    assert report.counts == {"near_duplicate": 2}
    assert report.rows_with(["near_duplicate"]) == {1, 3}
    assert not checked(tmp_path, rows, near=False).counts


def test_overlap_with_evaluation_is_a_question_that_both_have(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "held.jsonl").write_text(json.dumps(alpaca(" Who? ", "Another answer")), encoding="utf-8")
    report = checked(tmp_path, [GOOD, alpaca("Who?", "Me.")], against=["held"])
    assert [str(found) for found in report.named["overlap"]] == [
        "row 2 of data/x.jsonl: its question is also row 1 of data/held.jsonl."
    ]


@pytest.mark.parametrize(
    ("roles", "text"),
    [
        ("user user assistant", "turn 2 is a second turn of user in a row"),
        ("user assistant assistant", "turn 3 is a second turn of assistant in a row"),
        ("system assistant user assistant", "turn 2 is an answer that no question comes before"),
    ],
)
def test_turns_out_of_order(roles: str, text: str) -> None:
    messages = tuple(Message(role, f"{n}") for n, role in enumerate(roles.split()))  # type: ignore[arg-type]
    report = check_rows([Example("x", 1, messages)])
    assert text in report.named["order"][0].text


def test_a_file_that_breaks_off_is_part_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[{"instruction": "a", "output": "b"},\n{"instruction" 3}]', encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text('{"x": {"file_name": "x.json"}}', encoding="utf-8")
    report = check_dataset(Workspace(tmp_path), "x")
    assert (report.rows, report.usable, report.counts) == (1, 1, {"not_json": 1})
    assert "in line 2, column 16" in str(report.named["not_json"][0])
    assert report.explain()[-1].startswith("Reading broke off there")


def test_a_report_keeps_the_first_places_and_all_numbers(tmp_path: Path) -> None:
    report = checked(tmp_path, [alpaca(str(n), "") for n in range(100)])
    assert len(report.named["empty"]) == NAMED
    assert report.rows_with(["empty"]) == set(range(100))
    assert f"  and {100 - NAMED} more" in report.explain()


def sentence(draw: random.Random, count: int) -> list[str]:
    return [f"w{draw.randrange(5000)}" for _ in range(count)]


@pytest.mark.parametrize(("changed", "least", "most"), [(1, 0.85, 1), (2, 0.7, 1), (15, 0, 0.1), (60, 0, 0)])
def test_near_duplicates_are_found_by_how_much_they_share(changed: int, least: float, most: float) -> None:
    """Of 60 words, one changed leaves 57 of 61 word pairs in common: a Jaccard index of 0.93; 2 give 0.87, 15 0.35."""
    draw, near, found = random.Random(5), Near(), 0
    for number in range(200):
        words = sentence(draw, 60)
        near.seen(" ".join(words), 2 * number)
        for place in draw.sample(range(60), changed):
            words[place] = f"new{draw.randrange(5000)}"
        found += near.seen(" ".join(words), 2 * number + 1) == 2 * number
    assert least <= found / 200 <= most


def test_a_stream_is_checked_in_a_memory_that_hardly_grows() -> None:
    draw = random.Random(3)

    def peak(count: int) -> int:
        rows = (
            Example("x", n, (Message("user", " ".join(sentence(draw, 40))), Message("assistant", "y" * 2000)))
            for n in range(1, count + 1)
        )
        tracemalloc.start()
        check_rows(rows)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert (peak(1500) - peak(500)) / 1000 < 400  # bytes a row, of which the text alone has 2,200


@pytest.mark.parametrize(
    "text",
    ["café, naïve, Å, SÃO PAULO, £5", "Привет, РОССИЯ и СССР", "tab\tand\nline", "ÐÑ", "Đặng Văn Â", "“quotes” – €"],
)
def test_whole_texts_are_not_called_damaged(text: str) -> None:
    assert damage(text) is None


@pytest.mark.parametrize(
    "text", ["naïve café", "“quoted” – it’s", "Привет, мир", "你好世界", "Xin chào các bạn ở Việt Nam"]
)
def test_text_that_went_through_a_wrong_encoding_is_seen(text: str) -> None:
    broken = text.encode("utf-8").decode("cp1252", errors="replace")
    assert damage(broken) is not None
    assert damage(text) is None


def test_cyrillic_read_as_windows_1251_is_seen() -> None:
    assert damage("Привет".encode().decode("cp1251")) is not None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("plain", "Latin"),
        ("Grüße", "Latin"),
        ("Привет, world", "Cyrillic"),
        ("你好", "Chinese"),
        ("日本語を話します", "Japanese"),
        ("한국어", "Korean"),
        ("🙂 3", "none"),
        ("", "none"),
    ],
)
def test_scripts(text: str, name: str) -> None:
    assert script(text) == name
