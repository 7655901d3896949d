"""What is thought of an export: equal, rounded, lossy or bad. No torch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from studio.tasks.exporting.comparison import compare, judge


def probe(answers: list[list[int]], perplexity: float | None) -> dict[str, object]:
    return {"answers": answers, "perplexity": perplexity, "tokens_per_second": 10.0}


def logits(file: Path, *arrays: np.ndarray) -> Path:
    np.savez(file, *arrays)
    return file


def test_equal_models_have_no_difference(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    before, after = logits(tmp_path / "a.npz", numbers), logits(tmp_path / "b.npz", numbers)
    found = compare(probe([[1, 2]], 20.0), probe([[1, 2]], 20.0), before, after, exact=True)
    assert (found.verdict, found.difference, found.same_tokens, found.same_answers) == ("good", 0.0, 1.0, 1)


def test_another_model_is_found_and_padding_is_not(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    one, other = (random.normal(size=(5, 40)).astype(np.float32) for _ in range(2))
    before, after = logits(tmp_path / "a.npz", one), logits(tmp_path / "b.npz", other)
    found = compare(probe([[1]], None), probe([[2]], None), before, after, exact=True)
    assert found.verdict == "bad" and found.same_answers == 0 and found.difference > 1
    padded = logits(tmp_path / "c.npz", np.pad(one, ((0, 0), (0, 24)), constant_values=-100.0))
    assert compare(probe([[1]], None), probe([[1]], None), before, padded, exact=True).difference == 0


@pytest.mark.parametrize(
    ("difference", "before", "after", "exact", "wanted"),
    [
        (0.04, 60.0, 59.0, True, "good"),
        (0.04, 60.0, 70.0, True, "bad"),
        (0.5, 60.0, 60.0, True, "bad"),
        (0.5, 60.0, 62.0, False, "good"),
        (0.5, 60.0, 80.0, False, "lossy"),
        (0.5, 60.0, 180.0, False, "bad"),
        (2.0, None, None, False, "bad"),
        (0.1, 60.0, math.inf, False, "bad"),
        (math.nan, 60.0, 60.0, True, "bad"),
    ],
)
def test_the_verdict_follows_the_numbers(
    difference: float, before: float | None, after: float | None, exact: bool, wanted: str
) -> None:
    verdict, reason = judge(difference, before, after, exact=exact)
    assert verdict == wanted and bool(reason) == (wanted != "good")


def test_numbers_that_json_cannot_hold_are_left_out(tmp_path: Path) -> None:
    file = logits(tmp_path / "a.npz", np.zeros((2, 3), dtype=np.float32))
    found = compare(probe([[1]], 5.0), probe([[1]], math.inf), file, file, exact=False)
    assert found.record()["perplexity_after"] is None and found.verdict == "bad"
