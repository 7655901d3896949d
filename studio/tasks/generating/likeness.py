"""Which questions were asked before in nearly the same words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise

# A word, or one sign of a script that writes without spaces.
_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORDS = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
LONGEST = 5_000  # characters of a question that are compared

Pair = tuple[str, str]


class Asked:
    """Remembers questions and finds those that share most of their word pairs, the borders counted as words.

    Two questions are alike when the Jaccard index of their sets of pairs, |A ∩ B| / |A ∪ B|, is at least `limit`. It is
    computed in full, through an index from pairs to questions: the sketches of studio.data.duplicates, which are made
    for millions of rows, have one fixed limit and see nothing in texts of eight words and less, as most questions are.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._sizes: list[int] = []
        self._holding: defaultdict[Pair, list[int]] = defaultdict(list)

    def seen(self, question: str) -> bool:
        """Whether an earlier question is like this one; if none is, this one is remembered."""
        pairs = _pairs(question)
        shared = Counter(number for pair in pairs for number in self._holding.get(pair, ()))
        for number, common in shared.items():
            if common >= self._limit * (self._sizes[number] + len(pairs) - common):
                return True
        for pair in pairs:
            self._holding[pair].append(len(self._sizes))
        self._sizes.append(len(pairs))
        return False


def _pairs(question: str) -> set[Pair]:
    words = _WORDS.findall(question[:LONGEST].casefold()) or [question.strip()]
    return set(pairwise(["", *words, ""]))
