"""The order of an epoch: every row once, similar lengths together, the same for the same seed."""

from __future__ import annotations

import itertools
import random

import pytest

from studio.tasks.order import epoch_order

LENGTHS = random.Random(1).choices(range(5, 201), k=1001)


@pytest.mark.parametrize("count", [0, 1, 3, 7, 64, 1001])
@pytest.mark.parametrize("grouped", [True, False])
def test_every_row_comes_once(count: int, grouped: bool) -> None:
    lengths = LENGTHS[:count] if grouped else None
    assert sorted(epoch_order(count, lengths, 4, seed=1, epoch=0)) == list(range(count))


def test_an_order_depends_on_seed_and_epoch_alone() -> None:
    first = epoch_order(1001, LENGTHS, 4, seed=1, epoch=3)
    random.seed(99)
    assert epoch_order(1001, LENGTHS, 4, seed=1, epoch=3) == first
    assert epoch_order(1001, LENGTHS, 4, seed=1, epoch=4) != first
    assert epoch_order(1001, LENGTHS, 4, seed=2, epoch=3) != first


def test_grouping_pads_little() -> None:
    def padded(order: list[int]) -> float:
        batches = [order[start : start + 4] for start in range(0, len(order), 4)]
        places = sum(max(LENGTHS[row] for row in batch) * len(batch) for batch in batches)
        return 1 - sum(LENGTHS) / places

    assert padded(epoch_order(1001, None, 4, seed=1, epoch=1)) > 0.3
    assert padded(epoch_order(1001, LENGTHS, 4, seed=1, epoch=1)) < 0.05


def test_the_longest_row_comes_in_the_first_batch_of_the_run() -> None:
    order = epoch_order(1001, LENGTHS, 4, seed=1, epoch=0)
    assert max(LENGTHS) in [LENGTHS[row] for row in order[:4]]


def test_long_and_short_batches_alternate() -> None:
    order = epoch_order(1000, LENGTHS[:1000], 4, seed=1, epoch=1)
    means = [sum(LENGTHS[row] for row in order[start : start + 4]) / 4 for start in range(0, 1000, 4)]
    falls = sum(later < earlier for earlier, later in itertools.pairwise(means))
    assert 90 < falls < 160
