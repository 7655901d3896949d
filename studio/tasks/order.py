"""The order of the rows in an epoch: from the seed and the epoch alone, so that a resumed run sees the same."""

from __future__ import annotations

import random
from collections.abc import Sequence

BATCHES_SORTED_TOGETHER = 50


def epoch_order(count: int, lengths: Sequence[int] | None, batch: int, seed: int, epoch: int) -> list[int]:
    """The indices of `count` rows in the order of `epoch`.

    With `lengths` (tokens of each row) rows of similar length come into one batch of `batch` rows: shuffled rows are
    sorted within groups of batches, and the batches are shuffled again, so that long and short ones alternate. In the
    first epoch the batch with the longest row comes first: what does not fit into memory fails at once.
    """
    draw = random.Random(f"{seed}/{epoch}")
    order = list(range(count))
    draw.shuffle(order)
    if lengths is None:
        return order
    window = batch * max(1, min(BATCHES_SORTED_TOGETHER, count // (batch * 4)))
    batches: list[list[int]] = []
    for start in range(0, count, window):
        group = sorted(order[start : start + window], key=lambda row: lengths[row], reverse=True)
        batches += [group[place : place + batch] for place in range(0, len(group), batch)]
    # A short batch stays last, or it would shift the borders of all batches behind it.
    short = batches.pop() if batches and len(batches[-1]) < batch else []
    draw.shuffle(batches)
    if epoch == 0 and batches:
        longest = max(range(len(batches)), key=lambda place: max(lengths[row] for row in batches[place]))
        batches[0], batches[longest] = batches[longest], batches[0]
    return [row for rows in batches for row in rows] + short
