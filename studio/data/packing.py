"""Which rows share a packed row: best fit decreasing, as TRL 1.16 packs with its strategy `bfd`."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

ROWS_AT_ONCE = 1000  # `datasets` hands TRL's packing this many rows at a time; rows of two such groups never meet


def pack(lengths: Sequence[int], capacity: int, processes: int = 1) -> Iterator[list[int]]:
    """Places of the rows that share each packed row, in the order in which the trainer gets them.

    `lengths` in tokens, none above `capacity`, empty rows are left out. `processes` is how many share the packing:
    each takes one stretch of the rows.
    """
    for first, last in _stretches(len(lengths), processes):
        for start in range(first, last, ROWS_AT_ONCE):
            yield from _pack_group(lengths, range(start, min(last, start + ROWS_AT_ONCE)), capacity)


def _stretches(count: int, processes: int) -> Iterator[tuple[int, int]]:
    """Contiguous shards as `datasets` cuts them: the first ones are longer by one row."""
    shards = max(1, min(processes, count))
    size, more = divmod(count, shards)
    start = 0
    for shard in range(shards):
        end = start + size + (shard < more)
        yield start, end
        start = end


def _pack_group(lengths: Sequence[int], rows: range, capacity: int) -> list[list[int]]:
    """The longest row first, each into the fullest packed row that still has room; of equals the oldest."""
    packed: list[list[int]] = []
    room: dict[int, deque[list[int]]] = defaultdict(deque)  # packed rows by the tokens that still fit in
    rooms: list[int] = []  # the keys of `room` that are not empty, sorted
    for row in sorted((row for row in rows if lengths[row] > 0), key=lambda row: -lengths[row]):
        place = bisect_left(rooms, lengths[row])
        if place < len(rooms):
            space = rooms[place]
            group = room[space].popleft()
            if not room[space]:
                del rooms[place]
        else:
            space, group = capacity, list[int]()
            packed.append(group)
        group.append(row)
        left = space - lengths[row]
        if left > 0:
            if not room[left]:
                insort(rooms, left)
            room[left].append(group)
    return packed
