"""Held-back rows are the same for the same seed, and never also trained on."""

from __future__ import annotations

import pytest

from studio.data.examples import DataError
from studio.data.splits import split


@pytest.mark.parametrize(("size", "count"), [(0.25, 25), (0.001, 1), (7, 7), (7.0, 7)])
def test_a_share_or_a_number_is_held_back(size: float, count: int) -> None:
    rows = list(range(100))
    train, held = split(rows, size, seed=3)
    assert len(held) == count
    assert sorted(train + held) == rows
    assert train == sorted(train)
    assert split(rows, size, seed=3) == (train, held)


def test_another_seed_holds_back_other_rows() -> None:
    rows = list(range(100))
    assert split(rows, 10, seed=1)[1] != split(rows, 10, seed=2)[1]


def test_nothing_is_held_back_by_zero() -> None:
    assert split([1, 2], 0, seed=1) == ([1, 2], [])


@pytest.mark.parametrize("size", [5, 0.99, 100])
def test_something_must_be_left_to_train_on(size: float) -> None:
    with pytest.raises(DataError, match="leave none to train on"):
        split([1, 2, 3], size, seed=1)
