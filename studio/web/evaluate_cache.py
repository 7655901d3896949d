"""The answers and scores of evaluations as far as their files were read; everything here can be lost and made again."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from studio.runs.evaluation_results import (
    PREDICTIONS,
    RESULTS,
    ROW_SCORES,
    Prediction,
    Results,
    predictions,
    results,
    row_scores,
)

KEPT = 4  # evaluations whose answers are held in memory
LATEST = 6  # answers that are shown as they come

Place = tuple[str, int]  # dataset and row
Stamp = tuple[int, int, int]  # of a file: its number on the disk, time and size


@dataclass
class Row:
    """One question with the answers so far, by candidate."""

    place: Place
    prompt: str
    reference: str
    where: str
    answers: dict[str, Prediction] = field(default_factory=dict[str, Prediction])


class Answers:
    """One evaluation's answers and the scores of its rows, read on where they were read to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock = folder, threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self.rows: dict[Place, Row] = {}
        self.counts: Counter[str] = Counter()
        self.latest: deque[Prediction] = deque(maxlen=LATEST)
        self._scores: Mapping[tuple[str, str, int], Mapping[str, float]] = {}
        self._scored: Stamp | None = None
        self._number, self._offset = 0, 0

    def read(self) -> None:
        """Take in what is new. A file that was put aside or replaced is read from its beginning. Raises OSError."""
        with self.lock:
            now = stamp(self.folder / PREDICTIONS)
            if now is None or now[0] != self._number or now[2] < self._offset:
                self._forget()
                self._number = now[0] if now else 0
            if now is not None and now[2] > self._offset:
                found, self._offset = predictions(self.folder, self._offset)
                for one in found:
                    self._take(one)
            scored = stamp(self.folder / ROW_SCORES)
            if scored != self._scored:
                self._scores, self._scored = row_scores(self.folder), scored

    def _take(self, one: Prediction) -> None:
        place = (one.dataset, one.row)
        row = self.rows.setdefault(place, Row(place, one.prompt, one.reference, one.place))
        self.counts[one.candidate] += one.candidate not in row.answers
        row.answers[one.candidate] = replace(one, prompt="", reference="")  # the row has them once for all
        self.latest.append(one)

    @property
    def version(self) -> str:
        """Another one whenever a row would look different."""
        return f"{self._number}-{self._offset}-{self._scored}"

    @property
    def candidates(self) -> list[str]:
        """Who has answered, in the order of their first answers."""
        return list(self.counts)

    def scores(self, candidate: str, place: Place) -> Mapping[str, float]:
        """The scores of one answer; none before they are made."""
        return self._scores.get((candidate, *place), {})


class EvaluationCache:
    """The last few evaluations that somebody looked at."""

    def __init__(self) -> None:
        self._known: OrderedDict[Path, Answers] = OrderedDict()
        self._lock = threading.Lock()

    def answers(self, folder: Path) -> Answers:
        """The answers in `folder`, up to date. Raises OSError."""
        with self._lock:
            found = self._known.setdefault(folder, Answers(folder))
            self._known.move_to_end(folder)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        found.read()
        return found


def stamp(file: Path) -> Stamp | None:
    """What tells a file's contents from others; None for no file."""
    try:
        known = file.stat()
    except OSError:
        return None
    return known.st_ino, known.st_mtime_ns, known.st_size


def results_of(folder: Path) -> Results | None:
    """The results in `folder`; read again only when the file has changed."""
    known = stamp(folder / RESULTS)
    return None if known is None else _results(folder, known)


@lru_cache(maxsize=64)
def _results(folder: Path, _known: Stamp) -> Results | None:
    return results(folder)
