"""What models say becomes rows: JSON with anything around it, mended where broken, refused where words are missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.tasks.generating.answers import Unusable, rows_of
from studio.tasks.generating.repair import NoJson, find_json

ROW = '{"question": "Why?", "answer": "So."}'
GOOD = {"rows": [{"question": "Why?", "answer": "So."}]}


@pytest.mark.parametrize(
    "text",
    [
        f'{{"rows": [{ROW}]}}',
        f'Here you are:\n```json\n{{"rows": [{ROW}]}}\n```\nAnything else?',
        f'<think>The form is {{"rows": [...]}}.</think> {{"rows": [{ROW}]}}',
        f'<think>never closed {{"rows": []}}\n</think>\n{{"rows": [{ROW},]}}',
        "{'rows': [{'question': 'Why?', 'answer': 'So.'}]}",
        '{rows: [{question: "Why?", answer: "So."}]}',
        '{"rows": [{"question": "Why?" "answer": "So."}]}',
        '{"rows": [{"question": "Why?", "answer": "So.",},],}',
        '{"rows": [ // as asked\n {"question": "Why?", // short\n "answer": "So."}]}',
        "{“rows”: [{“question”: “Why?”, “answer”: “So.”}]}",
        f'Some [notes] and {{braces}} first. {{"rows": [{ROW}]}} (see [1])',
        f'{{"rows": [{ROW}}}',
        f'{{"rows": [{ROW}',
    ],
)
def test_json_is_found_and_mended(text: str) -> None:
    assert find_json(text).value == GOOD


def test_strings_keep_what_stands_in_them() -> None:
    text = (
        '{"a": "line one\nline two", "b": "tab\\t, \\u00e9, \\ud83d\\ude00, quote \\" end", "c": "a // no comment {}",}'
    )
    found = find_json(text).value
    assert found == {"a": "line one\nline two", "b": 'tab\t, é, 😀, quote " end', "c": "a // no comment {}"}


@pytest.mark.parametrize("text", ["", "   ", "I would rather not.", "{", "[1, 2", "see [1] and {this}"])
def test_no_json_is_said_so(text: str) -> None:
    with pytest.raises(NoJson):
        find_json(text)


def test_a_cut_answer_keeps_whole_rows_and_invents_nothing() -> None:
    rows = [{"question": f"Question {number}?", "answer": f"Answer {number}."} for number in range(5)]
    text = json.dumps({"rows": rows})
    for length in range(len(text)):
        try:
            kept = rows_of(text[:length], "question_answer").rows
        except Unusable:
            kept = ()
        whole = [(row.messages[0][1], row.messages[1][1]) for row in kept]
        assert whole == [(row["question"], row["answer"]) for row in rows[: len(whole)]]
    assert len(rows_of(text[:-5], "question_answer").rows) == 4


@given(st.text(alphabet=st.sampled_from("{}[]:,\"'\\/ \n\tabtrue0.-u“”`<think>"), max_size=80))
def test_whatever_is_said_gives_json_or_a_sentence(text: str) -> None:
    try:
        found = find_json(text).value
    except NoJson as error:
        assert str(error).endswith(".")
    else:
        assert isinstance(found, dict | list)


_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_WORDS, _TREES, min_size=1, max_size=4), st.booleans())
def test_json_that_needs_no_mending_is_left_as_it_is(tree: dict[str, Any], indented: bool) -> None:
    text = json.dumps(tree, indent=2 if indented else None, ensure_ascii=indented)
    assert find_json(text).value == tree
    assert find_json(f"Here it is:\n```json\n{text}\n```").value == tree or "```" in text or "<think" in text


TURNS = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("question_answer", [{"instruction": "Why?", "output": "So."}]),
        ("question_answer", {"question": "Why?", "answer": "So."}),
        ("question_answer", {"data": [{"prompt": "Why?", "response": "So."}], "note": "done"}),
        ("dialogue", {"rows": [{"turns": TURNS}]}),
        ("dialogue", {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]}),
        ("dialogue", [{"messages": TURNS}]),
        ("dialogue", [TURNS]),
        ("dialogue", TURNS),
    ],
)
def test_rows_are_taken_under_the_names_that_models_use(target: str, value: Any) -> None:
    (row,) = rows_of(json.dumps(value), target).rows
    assert row.messages == (("user", "Why?"), ("assistant", "So."))


def test_a_preference_has_both_answers() -> None:
    (row,) = rows_of(
        json.dumps({"rows": [{"question": "Why?", "chosen": "So.", "rejected": "No."}]}), "preference"
    ).rows
    assert (row.messages, row.chosen, row.rejected) == ((("user", "Why?"),), "So.", "No.")


@pytest.mark.parametrize(
    ("target", "value", "reason"),
    [
        ("question_answer", {"rows": []}, "holds no rows"),
        ("question_answer", {"rows": [{"question": "Why?"}]}, "'answer'"),
        ("question_answer", {"rows": [{"question": " ", "answer": "So."}]}, "'question'"),
        ("question_answer", {"rows": ["Why?"]}, "'question'"),
        ("dialogue", {"rows": [{"turns": TURNS[:1]}]}, "last turn must be of role assistant"),
        ("dialogue", {"rows": [{"turns": TURNS[::-1]}]}, "turn 1 must be of role user"),
        ("dialogue", {"rows": [{"turns": "Why? So."}]}, "'turns'"),
        ("preference", {"rows": [{"question": "Why?", "chosen": "So.", "rejected": "So."}]}, "are the same"),
    ],
)
def test_rows_without_what_they_need_are_refused_with_the_reason(target: str, value: Any, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        rows_of(json.dumps(value), target)


def test_good_rows_beside_broken_ones_are_kept_and_counted() -> None:
    answer = rows_of(
        json.dumps({"rows": [{"question": "Why?", "answer": "So."}, {"title": "x"}, 5]}), "question_answer"
    )
    assert (len(answer.rows), answer.broken) == (1, 2)
