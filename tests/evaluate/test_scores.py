"""Scores of answers: equal to the programs whose names they bear, and right by hand where they are our own."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
import sacrebleu

from studio.config.evaluate import SCORE_NAMES, ScoresConfig
from studio.runs.evaluation_results import Prediction
from studio.tasks.evaluating.scoring import measure
from studio.tasks.scores import llamafactory, shape, words
from tests.evaluate.llamafactory_numbers import EXPECTED, MEANS

KEYS = ("llamafactory_rouge_1", "llamafactory_rouge_2", "llamafactory_rouge_l", "llamafactory_bleu_4")
ENGLISH = [(answer, reference) for answer, reference, _ in EXPECTED if not words.mostly_unspaced([reference])]
CHINESE = [(answer, reference) for answer, reference, _ in EXPECTED if words.mostly_unspaced([reference])]


def tallies(pairs: list[tuple[str, str]], *names: str, pattern: str | None = None) -> dict[str, float]:
    """The scores of all pairs together."""
    rows = [Prediction("m", "d", number, "?", b, a) for number, (a, b) in enumerate(pairs)]
    config = ScoresConfig(names=list(names), pattern=pattern)  # pyright: ignore[reportArgumentType]
    found = measure(rows, [], config)["m"]
    return {name: one.tally(list(one.counts)).value for name, one in found.items()}


@pytest.mark.parametrize(("answer", "reference", "expected"), EXPECTED)
def test_llamafactorys_numbers_come_out_for_each_row(
    answer: str, reference: str, expected: tuple[float, float, float, float]
) -> None:
    found = llamafactory.rouge(answer, reference)
    numbers = (found["rouge-1"], found["rouge-2"], found["rouge-l"], llamafactory.bleu_4(answer, reference))
    assert numbers == pytest.approx(expected, abs=1e-6)


def test_llamafactorys_numbers_come_out_for_all_rows() -> None:
    found = tallies([(answer, reference) for answer, reference, _ in EXPECTED], *KEYS)
    assert tuple(found[key] for key in KEYS) == pytest.approx(MEANS, abs=1e-6)


@pytest.mark.parametrize(("pairs", "tokenize"), [(ENGLISH, "13a"), (CHINESE, "zh")], ids=["english", "chinese"])
def test_bleu_and_chrf_equal_sacrebleu(pairs: list[tuple[str, str]], tokenize: str) -> None:
    assert len(pairs) >= 3
    answers, references = [a for a, _ in pairs], [[b for _, b in pairs]]
    found = tallies(pairs, "bleu", "chrf")
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(answers, references, tokenize=tokenize).score)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(answers, references).score)


def test_rouge_counts_words_by_hand() -> None:
    answer, reference = words.words("The ship left the port."), words.words("Left the ship: THE captain!")
    assert answer == ["the", "ship", "left", "the", "port"]
    assert words.rouge_n(answer, reference, 1) == pytest.approx(100 * 4 / 5)
    assert words.rouge_n(answer, reference, 2) == pytest.approx(100 * 2 / 4)  # the ship, left the
    assert words.rouge_l(answer, reference) == pytest.approx(100 * 3 / 5)  # the ship the
    assert words.rouge_l([], reference) == words.rouge_n([], [], 2) == 0


def test_the_longest_common_subsequence_is_that_of_the_plain_table() -> None:
    draw = random.Random(3)
    for _ in range(50):
        first, second = ([draw.choice("abcd") for _ in range(draw.randrange(1, 90))] for _ in range(2))
        table = np.zeros((len(first) + 1, len(second) + 1), dtype=int)
        for i, one in enumerate(first, 1):
            for j, other in enumerate(second, 1):
                same = table[i - 1, j - 1] + 1
                table[i, j] = same if one == other else max(table[i - 1, j], table[i, j - 1])
        assert words.rouge_l(first, second) == pytest.approx(200 * table[-1, -1] / (len(first) + len(second)))


def test_languages_without_spaces_are_cut_into_signs() -> None:
    assert words.words("LoRA 很小。ไม่") == ["lora", "很", "小", "ไ", "ม", "่"]
    assert words.mostly_unspaced(["模型 GPT 很好用的"]) and not words.mostly_unspaced(["a 好 sentence in English"])


def test_token_f1_and_exact_match() -> None:
    assert words.token_f1("the sea, a sea", "sea") == pytest.approx(100 * 2 * 1 / 3)
    assert words.token_f1("The North Sea.", "north sea") == 100
    assert words.token_f1("", "") == 100 and words.token_f1("", "x") == 0
    assert words.exact_match(" Yes,  it IS ", "yes, it is") == 100
    assert words.exact_match("yes it is", "yes, it is") == 0


def test_json_must_be_an_object_or_a_list() -> None:
    assert [shape.json_valid(text) for text in ('{"a": 1}', "[1]", '```json\n{"a": 1}\n```')] == [100] * 3
    assert [shape.json_valid(text) for text in ("12", '{"a": 1', 'Here: {"a": 1}', "", "[" * 100_000)] == [0] * 5


def test_a_pattern_finds_or_compares() -> None:
    pattern = re.compile(r"####\s*(-?\d+)")
    assert shape.regex("so #### 12", "it is #### 12", pattern) == 100
    assert shape.regex("#### 1 then #### 12", "#### 12", pattern) == 100  # the last one counts
    assert shape.regex("#### 13", "#### 12", pattern) == shape.regex("12", "#### 12", pattern) == 0
    assert shape.regex("I refuse.", "", re.compile("refuse|decline")) == 100


def test_every_score_of_the_schema_can_be_computed() -> None:
    found = tallies([("a b", "a c"), ("{}", "{}")], *SCORE_NAMES, pattern="a")
    assert set(found) == set(SCORE_NAMES)
    assert all(0 <= value <= 100 for value in found.values())
