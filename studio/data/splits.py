"""Hold rows back for evaluation: the same rows for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from studio.data.examples import DataError

T = TypeVar("T")


def split(rows: Sequence[T], size: float, seed: int) -> tuple[list[T], list[T]]:
    """The rows to train on and the rows held back, both in their old order.

    `size` below 1 is a share of the rows (rounded, at least one row), from 1 on a number of rows; 0 holds nothing
    back. Raises DataError when nothing would be left to train on.
    """
    if size == 0:
        return list(rows), []
    count = max(1, round(size * len(rows))) if size < 1 else int(size)
    if count >= len(rows):
        raise DataError(
            f"data.validation_size={size:g} would hold back {count} of {len(rows)} rows and leave none to train on. "
            "Make it smaller."
        )
    held = frozenset(random.Random(seed).sample(range(len(rows)), count))
    return (
        [row for place, row in enumerate(rows) if place not in held],
        [row for place, row in enumerate(rows) if place in held],
    )
