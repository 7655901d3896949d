"""A few answers with their points for each log: `completions.jsonl`, where a person sees what gets points and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.runs.atomic import write_text
from studio.tasks.rewards.attempt import Attempt
from studio.tasks.rewards.judging import Points

COMPLETIONS = "completions.jsonl"
MOST_ROWS = 2000  # of the file; beyond it every second step is dropped, so that the whole course stays visible
MOST_CHARACTERS = 4000  # of a prompt or an answer
PROMPTS_SHOWN = 2  # of a step, each with its best and its worst answer

Row = dict[str, Any]


class CompletionLog:
    """The file of one run. Rows of a course that a resumed run has left are dropped."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: list[Row] | None = None

    def begin(self, step: int) -> None:
        """Go on at `step`: what was written beyond it belongs to another course."""
        known = _read(self._file) if step else []
        self._rows = [row for row in known if row.get("step", 0) <= step]
        self._write()

    def add(self, step: int, attempts: Sequence[Attempt], points: Mapping[str, Points], totals: Points) -> None:
        """The best and the worst answer to the first prompts of a step."""
        if self._rows is None:
            self.begin(step)
        rows = [_row(step, attempts[place], points, totals, place) for place in _chosen(attempts, totals)]
        self._rows = [*(self._rows or []), *rows]
        if len(self._rows) > MOST_ROWS:
            steps = sorted({row["step"] for row in self._rows})
            kept = set(steps[::2])
            self._rows = [row for row in self._rows if row["step"] in kept]
            self._write()
        else:
            with self._file.open("a", encoding="utf-8") as stream:
                stream.writelines(_line(row) for row in rows)

    def _write(self) -> None:
        write_text(self._file, "".join(map(_line, self._rows or [])))


def _chosen(attempts: Sequence[Attempt], totals: Points) -> list[int]:
    """Places of the best and the worst answer to each of the first prompts, in that order."""
    groups: dict[str, list[int]] = {}
    for place, attempt in enumerate(attempts):
        groups.setdefault(attempt.where, []).append(place)

    def worth(place: int) -> float:
        total = totals[place]
        return float("-inf") if total is None else total

    chosen = [pick(places, key=worth) for places in list(groups.values())[:PROMPTS_SHOWN] for pick in (max, min)]
    return list(dict.fromkeys(chosen))


def _row(step: int, attempt: Attempt, points: Mapping[str, Points], totals: Points, place: int) -> Row:
    return {
        "step": step,
        "where": attempt.where,
        "prompt": _short(attempt.prompt),
        "answer": _short(attempt.text),
        "tokens": attempt.tokens,
        "rewards": {label: column[place] for label, column in points.items()},
        "reward": totals[place],
    }


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _read(file: Path) -> list[Row]:
    """The rows of the file; a line that is not whole, after a crash say, is left out."""
    if not file.is_file():
        return []
    return list(_whole(file.read_text(encoding="utf-8", errors="replace").splitlines()))


def _whole(lines: Iterable[str]) -> Iterable[Row]:
    for line in lines:
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue
