"""What each reward of the library gives points for, and how a reward that cannot be used says so."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from studio.config.rewards import ENTRIES, arguments_of, own_function, reward_faults
from studio.config.workspace import Workspace
from studio.data.examples import Message
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine
from studio.tasks.rewards.attempt import Attempt
from studio.tasks.rewards.judging import FUNCTIONS, Judges, load_judges
from studio.tasks.rewards.results import result_of

CPU = Machine("cpu", bf16=False)


def attempt(text: str, reference: str | None = None, tokens: int = 0, where: str = "row 1 of data/x.json") -> Attempt:
    return Attempt(text, tokens, "?", (Message("user", "?"),), reference, where)


def points(name: str, text: str, reference: str | None = None, tokens: int = 0, **arguments: Any) -> float | None:
    return FUNCTIONS[name](attempt(text, reference, tokens), **arguments_of(name, arguments))


def test_the_table_of_names_is_the_table_of_functions() -> None:
    assert set(FUNCTIONS) == set(ENTRIES)
    for name, entry in ENTRIES.items():
        taken = inspect.signature(FUNCTIONS[name]).parameters
        given = {parameter.name: parameter for parameter in entry.parameters}
        assert list(taken)[1:] == list(given)
        for key, parameter in given.items():
            needed = taken[key].default is inspect.Parameter.empty
            assert needed == parameter.needed
            assert needed or taken[key].default == parameter.default
        assert entry.sentence.endswith(".") and all(one.sentence.endswith(".") for one in entry.parameters)


@pytest.mark.parametrize(
    ("answer", "reference", "arguments", "expected"),
    [
        ("It is 42.", "42", {}, 1),
        ("First 42, then 7.", "42", {}, 0),
        ("1,234.50", "1234.5", {}, 1),
        ("The result is -3", "3", {}, 0),
        ("$12.", "#### 12", {}, 1),
        ("12 apples and 3 pears, so #### 15", "12 + 3\n#### 15", {}, 1),
        ("#### 15 and something else 16", "15", {}, 0),
        (r"So \boxed{\frac{1}{2}}.", r"\boxed{\frac{1}{2}}", {}, 1),
        (r"So \frac{1}{2}", r"\boxed{\frac{1}{2}}", {}, 0),
        ("<think>perhaps 5</think> 6", "6", {}, 1),
        ("<think>6</think> 5", "6", {}, 0),
        ("  blue. ", "Blue", {}, 1),
        ("blue", "Blue", {"ignore_case": False}, 0),
        ("a blue sky", "Blue", {}, 0),
        ("Answer: red\nor so", "Answer: red", {"extract": "marker", "marker": "Answer:"}, 1),
        ("3.14", "3.14159", {"tolerance": 0.01}, 1),
        ("3.14", "3.14159", {}, 0),
        ("", "5", {}, 0),
        ("5", None, {}, None),
    ],
)
def test_exact_answer(answer: str, reference: str | None, arguments: dict[str, Any], expected: float | None) -> None:
    assert points("exact_answer", answer, reference, **arguments) == expected


def test_the_result_is_the_last_that_is_marked() -> None:
    assert result_of(r"\boxed{1} then \boxed{{2}}", "auto", "####") == ("{2}", "boxed")
    assert result_of(r"\boxed{1", "auto", "####") == ("1", "number")
    assert result_of("no result", "auto", "####") == ("no result", "whole")
    assert result_of("in 1999 it was v2 or 3e2", "number", "####") == ("3e2", "number")


@pytest.mark.parametrize(
    ("name", "answer", "arguments", "expected"),
    [
        ("contains_answer", "Paris is its capital", {}, 1),
        ("contains_answer", "Parisian", {}, 0),
        ("regex", "a1", {"pattern": r"\d"}, 1),
        ("regex", "a1", {"pattern": r"\d", "whole": True}, 0),
        ("json", '{"a": 1}', {"keys": ["a"]}, 1),
        ("json", '{"b": 1}', {"keys": ["a"]}, 0.5),
        ("json", "[1, 2]", {"keys": ["a"]}, 0.5),
        ("json", "{a: 1}", {}, 0),
        ("json", 'Here:\n```json\n{"a": 1}\n```', {}, 1),
        ("json", 'Here:\n```json\n{"a": 1}\n```', {"fenced": False}, 0),
        ("json", '{"a": "1"}', {"schema": {"properties": {"a": {"type": "integer"}}}}, 0.5),
        ("json", '{"a": [1, true]}', {"schema": {"properties": {"a": {"items": {"type": "number"}}}}}, 0.5),
        ("json", '{"a": 3}', {"schema": {"type": "object", "required": ["a"]}}, 1),
        ("thinking_format", "<think>hm</think>\n7", {}, 1),
        ("thinking_format", "<think></think>7", {}, 0),
        ("thinking_format", "<think>hm</think>", {}, 0),
        ("thinking_format", "hm</think>7", {}, 0),
        ("thinking_format", "hm</think>7", {"opened": True}, 1),
        ("thinking_format", "<think>a</think>b</think>c", {}, 0),
        ("answer_length", "one two three", {"target": 3, "unit": "words"}, 1),
        ("answer_length", "one two three four five six", {"target": 3, "unit": "words"}, 0),
        ("answer_length", "abc", {"at_most": 2, "unit": "characters"}, 0.5),
        ("answer_length", "", {"at_most": 2, "unit": "characters"}, 0),
        ("repetition", "a b c d", {}, 0),
        ("repetition", "go go go go go", {"words": 1}, pytest.approx(-0.8)),
        ("forbidden_words", "As an AI, I", {"words": ["ai"]}, -1),
        ("forbidden_words", "rain", {"words": ["ai"]}, 0),
        ("script", "abc", {}, 1),
        ("script", "ab中文", {"script": "han"}, 0.5),
        ("script", "123", {}, None),
    ],
)
def test_points(name: str, answer: str, arguments: dict[str, Any], expected: float | None) -> None:
    assert points(name, answer, "Paris", **arguments) == expected


def test_length_in_tokens() -> None:
    assert points("answer_length", "whatever", tokens=150) == 0.5


def judges(workspace: Path, *names: str, **weights: float) -> Judges:
    chosen = [{"name": name, "weight": weights.get(name, 1.0), "arguments": arguments_of(name, {})} for name in names]
    return load_judges(chosen, Workspace(workspace), CPU)


def test_points_are_weighed_and_summed(tmp_path: Path) -> None:
    several = judges(tmp_path, "exact_answer", "answer_length", answer_length=0.5)
    found = several.points([attempt("5", "5", 150), attempt("5", None, 50)])
    assert found == {"exact_answer": [1.0, None], "answer_length": [0.5, 1.0]}
    assert several.totals(found) == [1.25, 0.5]
    assert judges(tmp_path, "exact_answer").totals({"exact_answer": [None]}) == [None]


OWN = """from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Kept:
    points: float

def length(answers, rows, factor=1):
    return [factor * Kept(len(answer)).points for answer in answers]

def seen(answers, rows):
    return [float(row["answer"]) + row["tokens"] for row in rows]

def nothing(answers, rows):
    return None

def short(answers, rows):
    return [1.0]

def not_a_number(answers, rows):
    return [0.0, float("nan")]

def text(answers, rows):
    return ["1", "2"]

def fails(answers, rows):
    return [1 / len(answer) for answer in answers]

def some(answers, rows):
    return [None, 1]
"""


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("nothing", "gave a NoneType for 2 answers"),
        ("short", "gave 1 values for 2 answers"),
        ("not_a_number", "gave nan on row 2 of data/x.json"),
        ("text", "gave '1' on row 1 of data/x.json"),
        ("fails", r"failed on row 2 of data/x.json, answer '': ZeroDivisionError: .* \(my/own.py, line 27\)"),
        ("lenght", r"no function lenght. Did you mean my/own.py:length\?"),
    ],
)
def test_a_bad_function_is_named_with_the_row(tmp_path: Path, function: str, says: str) -> None:
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "own.py").write_text(OWN, encoding="utf-8")
    answers = [attempt("ab", "3", 1), attempt("", "4", 2, "row 2 of data/x.json")]
    with pytest.raises(TaskError, match=says):
        judges(tmp_path, f"my/own.py:{function}").points(answers)


def test_functions_of_a_file_are_asked_with_answers_and_rows(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    answers = [attempt("ab", "3", 1), attempt("", "4", 2)]
    several = judges(tmp_path, "own.py:length", "own.py:seen", "own.py:some")
    assert several.labels == ["length", "seen", "some"]
    assert several.points(answers) == {"length": [2.0, 0.0], "seen": [4.0, 6.0], "some": [None, 1.0]}


def test_a_file_must_lie_in_the_workspace_and_be_python(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside.py"
    inside.mkdir()
    outside.write_text(OWN, encoding="utf-8")
    with pytest.raises(TaskError, match="outside the workspace"):
        judges(inside, "../outside.py:length")
    with pytest.raises(TaskError, match=r"no file missing\.py"):
        judges(inside, "missing.py:length")
    (inside / "bad.py").write_text("x = 1\ndef f(:\n", encoding="utf-8")
    with pytest.raises(TaskError, match=r"bad\.py, line 2: SyntaxError"):
        judges(inside, "bad.py:f")
    (inside / "worse.py").write_text("\n\nraise ValueError('no key')\n", encoding="utf-8")
    with pytest.raises(TaskError, match=r"worse\.py, line 3: ValueError: no key"):
        judges(inside, "worse.py:f")


def test_names_of_functions_in_files() -> None:
    assert own_function("a/b.py:f") == ("a/b.py", "f")
    assert own_function("a/b.py") is None and own_function("exact_answer") is None and own_function("b.py:1") is None


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        (([], None, {}, {}), "Nothing gives points"),
        ((["exact_anser"], None, {}, {}), "Did you mean 'exact_answer'?"),
        ((["zzz"], None, {}, {}), "path/to/file.py:function"),
        ((["json", "json"], None, {}, {}), "chosen twice"),
        ((["json"], None, {"jsn": 1}, {}), "Did you mean 'json'?"),
        ((["json"], None, {"reward_model": 1}, {}), "is not among the chosen rewards (json)"),
        ((["json"], None, {"json": "much"}, {}), "must be a number"),
        ((["json"], None, {}, {"json": 5}), "must be a mapping"),
        ((["json"], None, {}, {"json": {"key": ["a"]}}), "Did you mean 'keys'?"),
        ((["json"], None, {}, {"json": {"keys": "a"}}), "does not take keys='a'. Allowed: […, …]."),
        ((["regex"], None, {}, {}), "regex needs pattern. Write {regex: {pattern: …}} (regex)."),
        ((["regex"], None, {}, {"regex": {"pattern": "("}}), "does not take pattern='('"),
        ((["answer_length"], None, {}, {"answer_length": {"target": 0}}), "1 … 1e+06"),
    ],
)
def test_a_bad_choice_of_rewards_is_a_fault(stage: Any, says: str) -> None:
    found = [fault.sentence() for fault in reward_faults(*stage)]
    assert len(found) == 1 and says in found[0]


def test_a_good_choice_is_none() -> None:
    rewards = ["exact_answer", "answer_length", "my/file.py:polite"]
    weights = {"exact_answer": 1, "reward_model": 0.5, "my/file.py:polite": 2}
    arguments = {"answer_length": {"target": 40}, "my/file.py:polite": {"anything": [1]}}
    assert list(reward_faults(rewards, "saves/judge", weights, arguments)) == []
