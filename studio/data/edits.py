"""What a draft says about the rows of a file: changed, removed and added ones, step by step forth and back."""

from __future__ import annotations

import zlib
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from studio.data.examples import DataError

State = Literal["same", "changed", "removed", "added"]
Step = Mapping[str, Any]

END = 1 << 62  # behind whatever row is the last


@dataclass
class Edits:
    """The state that the steps of a draft add up to.

    A place from 0 on is a row of the file, in the order of reading; a place below 0 is an added row. Added rows stand
    behind their anchor, a row of the file or END. Removing costs a bit a row, so a million of them are no burden.
    """

    values: dict[int, Any] = field(default_factory=dict[int, Any])
    added: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    removed: int = 0
    done: list[tuple[Step, Callable[[], None]]] = field(default_factory=list[tuple[Step, Callable[[], None]]])
    undone: list[Step] = field(default_factory=list[Step])
    _gone: bytearray = field(default_factory=bytearray)

    @property
    def changed(self) -> int:
        """Rows of the file with another value, removed ones among them left out."""
        return len(self.changed_places())

    @property
    def count(self) -> int:
        """Rows in which the draft differs from the file."""
        return self.changed + self.removed + len(self.added)

    def is_removed(self, place: int) -> bool:
        """Whether a row of the file is taken out."""
        return place >> 3 < len(self._gone) and bool(self._gone[place >> 3] & 1 << (place & 7))

    def changed_places(self) -> list[int]:
        """The rows of the file with another value that are not removed."""
        return [place for place in self.values if place >= 0 and not self.is_removed(place)]

    def removed_places(self) -> list[int]:
        """The rows of the file that are taken out, in their order."""
        return [
            number * 8 + bit for number, byte in enumerate(self._gone) if byte for bit in range(8) if byte >> bit & 1
        ]

    def state(self, place: int) -> State:
        """What became of a row."""
        if place < 0:
            return "added"
        if self.is_removed(place):
            return "removed"
        return "changed" if place in self.values else "same"

    def touches(self, first: int, last: int) -> bool:
        """Whether any row of the file from `first` to before `last` is changed or removed, or has one added behind."""
        at = bisect_left(self.added, first, key=_anchor)
        added = at < len(self.added) and self.added[at][0] < last
        return added or any(self._gone[first >> 3 : (last + 7) >> 3]) or self._any_value(first, last)

    def behind_all(self) -> list[int]:
        """The added rows behind the last row of the file, in their order."""
        return [place for _, place in self.added[self.inner() :]]

    def behind(self, anchor: int) -> list[int]:
        """The added rows behind a row of the file, in their order."""
        at, found = bisect_left(self.added, anchor, key=_anchor), list[int]()
        while at < len(self.added) and self.added[at][0] == anchor:
            found.append(self.added[at][1])
            at += 1
        return found

    def layout(self, start: int, count: int) -> list[int]:
        """The places of `count` rows as they stand in the draft from the position `start` on, as if the file had no
        end. Removed rows keep their position: a page shows them, struck out."""
        inner = self.added[: bisect_left(self.added, END, key=_anchor)]
        positions = [anchor + 1 + number for number, (anchor, _) in enumerate(inner)]
        number = bisect_left(positions, start)
        found: list[int] = []
        for position in range(start, start + count):
            if number < len(inner) and positions[number] == position:
                found.append(inner[number][1])
                number += 1
            else:
                found.append(position - number)
        return found

    def inner(self) -> int:
        """How many added rows stand behind a row of the file, not at its end."""
        return bisect_left(self.added, END, key=_anchor)

    def written(self) -> list[Any]:
        """The values of all changed and added rows."""
        return [self.values[place] for place in self.changed_places()] + [self.values[place] for _, place in self.added]

    def apply(self, step: Step) -> None:
        """Take one step; one that cannot be taken raises DataError and changes nothing."""
        self.done.append((step, _STEPS[str(step["op"])](self, step)))

    def do(self, step: Step) -> None:
        """Take a new step: what was undone cannot be redone behind it."""
        self.apply(step)
        self.undone.clear()

    def undo(self) -> bool:
        """Take the last step back; False when there is none."""
        if not self.done:
            return False
        step, back = self.done.pop()
        back()
        self.undone.append(step)
        return True

    def redo(self) -> bool:
        """Take the step again that was taken back last; False when there is none."""
        if not self.undone:
            return False
        self.apply(self.undone.pop())
        return True

    def _any_value(self, first: int, last: int) -> bool:
        if last - first < len(self.values):
            return any(place in self.values for place in range(first, last))
        return any(first <= place < last for place in self.values)

    def _change(self, step: Step) -> Callable[[], None]:
        place = int(step["place"])
        self._must_stand(place)
        had, before = place in self.values, self.values.get(place)
        self.values[place] = step["value"]

        def back() -> None:
            if had:
                self.values[place] = before
            else:
                del self.values[place]

        return back

    def _remove(self, step: Step) -> Callable[[], None]:
        first, mask = _mask(step)
        self._gone.extend(bytes(max(0, first + (mask.bit_length() + 7) // 8 - len(self._gone))))
        fresh = mask & ~int.from_bytes(self._gone[first:], "little")
        self._flip(first, fresh, 1)
        kept, lost = list(self.added), frozenset(cast("Sequence[int]", step["added"]))
        self.added = [pair for pair in kept if pair[1] not in lost]

        def back() -> None:
            self._flip(first, fresh, -1)
            self.added = kept

        return back

    def _add(self, step: Step) -> Callable[[], None]:
        place, after = int(step["place"]), step["after"]
        if after is not None and after < 0:
            self._must_stand(after)
            at = next(number for number, pair in enumerate(self.added) if pair[1] == after)
            at, anchor = at + 1, self.added[at][0]
        else:
            anchor = END if after is None else int(after)
            at = len(self.added) if after is None else bisect_left(self.added, anchor, key=_anchor)
        self.added.insert(at, (anchor, place))
        self.values[place] = step["value"]

        def back() -> None:
            self.added.remove((anchor, place))
            del self.values[place]

        return back

    def _must_stand(self, place: int) -> None:
        if place >= 0 and self.is_removed(place):
            raise DataError(f"Row {place + 1} is removed in this draft. Undo that first.")
        if place < 0 and all(pair[1] != place for pair in self.added):
            raise DataError("That added row is not in this draft any more.")

    def _flip(self, first: int, mask: int, sign: int) -> None:
        """Turn the bits of `mask`, which begins at the byte `first`."""
        size = (mask.bit_length() + 7) // 8
        part = int.from_bytes(self._gone[first : first + size], "little") ^ mask
        self._gone[first : first + size] = part.to_bytes(size, "little")
        self.removed += sign * mask.bit_count()


def removal(places: Iterable[int]) -> Step:
    """The step that takes rows out: added ones by name, those of the file as a packed row of bits."""
    inside, added = array("Q"), list[int]()
    for place in places:
        if place < 0:
            added.append(place)
        else:
            inside.append(place)
    first = min(inside, default=0) >> 3
    bits = bytearray((max(inside, default=0) >> 3) + 1 - first)
    for place in inside:
        bits[(place >> 3) - first] |= 1 << (place & 7)
    return {"op": "remove", "added": added, "first": first, "bits": b64encode(zlib.compress(bits, 1)).decode()}


def _mask(step: Step) -> tuple[int, int]:
    """The byte where the bits of a removal begin, and the bits; the lowest one is the first row of that byte."""
    return int(step["first"]), int.from_bytes(zlib.decompress(b64decode(step["bits"])), "little")


def _anchor(pair: tuple[int, int]) -> int:
    return pair[0]


_STEPS: Mapping[str, Callable[[Edits, Step], Callable[[], None]]] = {
    "change": Edits._change,  # pyright: ignore[reportPrivateUsage]
    "remove": Edits._remove,  # pyright: ignore[reportPrivateUsage]
    "add": Edits._add,  # pyright: ignore[reportPrivateUsage]
}
