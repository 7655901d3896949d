"""generated.jsonl in a run's folder: what a model wrote, one line for each finished request, and the rows in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from studio.data.examples import DataError, Example, Message

FILE = "generated.jsonl"
_ROLES = ("user", "assistant")


@dataclass(frozen=True)
class WrittenRow:
    """One row that a model wrote: (role, words) by turns from the person's on; a preference has both answers to it."""

    messages: tuple[tuple[str, str], ...]
    chosen: str = ""
    rejected: str = ""

    @classmethod
    def read(cls, value: object) -> WrittenRow:
        """From what JSON gave. Raises DataError, which says what is missing or empty."""
        fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        messages = tuple(_turn(turn, place) for place, turn in enumerate(_list(fields.get("messages"))))
        if not messages:
            raise DataError("it has no question.", "missing")
        chosen, rejected = _words(fields.get("chosen", ""), "chosen"), _words(fields.get("rejected", ""), "rejected")
        preference = bool(chosen or rejected)
        if preference and not (chosen and rejected):
            raise DataError("a preference needs a chosen and a rejected answer.", "missing")
        if preference and chosen == rejected:
            raise DataError("its chosen and its rejected answer are the same.", "type")
        last = "user" if preference else "assistant"
        if messages[-1][0] != last:
            raise DataError(f"its last turn must be of role {last}.", "roles")
        return cls(messages, chosen, rejected)

    def tree(self) -> dict[str, Any]:
        """As JSON holds it: `read` of it gives the same row."""
        found: dict[str, Any] = {"messages": [{"role": role, "content": words} for role, words in self.messages]}
        return found | ({"chosen": self.chosen, "rejected": self.rejected} if self.chosen else {})

    @property
    def question(self) -> str:
        """What the person says in all its turns: rows are told apart by it."""
        return "\n".join(words for role, words in self.messages if role == "user")

    def example(self, source: str, number: int) -> Example:
        """The row as every dataset's rows are read."""
        messages = tuple(Message("user" if role == "user" else "assistant", words) for role, words in self.messages)
        answers = [Message("assistant", words) if words else None for words in (self.chosen, self.rejected)]
        return Example(source, number, messages, chosen=answers[0], rejected=answers[1])


@dataclass(frozen=True)
class Finished:
    """One request that need not be asked again.

    `key` tells requests of a run apart. `alike` counts rows left out because a row like them was there, `surplus`
    those beyond the number wanted, `broken` those without what a row needs. `failure` says why there are no rows, `raw`
    keeps the answer that could not be used. `origin` names the seeds or the passage, which stands in `passage`.
    """

    key: str
    rows: tuple[WrittenRow, ...] = ()
    alike: int = 0
    surplus: int = 0
    broken: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    failure: str = ""
    raw: str = ""
    origin: str = ""
    passage: str = ""
    time: float = 0.0

    def line(self) -> str:
        """One line of the file, its end included."""
        tree = {**asdict(self), "rows": [row.tree() for row in self.rows]}
        return json.dumps(tree, ensure_ascii=False) + "\n"


@dataclass
class Generated:
    """Everything that a run has written so far. `rows[n]` is the row that people call n + 1."""

    finished: list[Finished] = field(default_factory=list[Finished])
    rows: list[WrittenRow] = field(default_factory=list[WrittenRow])

    def add(self, finished: Finished) -> None:
        """Take in one more request."""
        self.finished.append(finished)
        self.rows.extend(finished.rows)

    def total(self, name: str) -> int:
        """The sum over all requests of one of their counts: alike, surplus, broken, tokens_in, tokens_out."""
        return sum(getattr(finished, name) for finished in self.finished)

    @property
    def failures(self) -> list[Finished]:
        """Requests that brought nothing."""
        return [finished for finished in self.finished if finished.failure]


def read_generated(folder: Path) -> Generated:
    """What lies in the run's `folder`; nothing when there is no file. A line that holds no request is passed over."""
    found = Generated()
    for value in read_lines(folder / FILE):
        with suppress(KeyError, DataError):
            found.add(_finished(value))
    return found


def read_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """The objects in a file of JSON lines; lines that hold none are passed over, and a missing file has none."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                value: object = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield cast("dict[str, Any]", value)


def append_line(path: Path, line: str) -> None:
    """Add one line, its end included, and force it to the disk: it stands for money or for somebody's decision.

    What a killed process left half-written is ended first. Raises OSError.
    """
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            line = "\n" + line
        file.write(line.encode(errors="surrogatepass"))
        file.flush()
        os.fsync(file.fileno())


def _finished(value: Mapping[str, Any]) -> Finished:
    """Raises DataError for rows that are none: somebody has edited the file."""
    return Finished(
        key=str(value["key"]),
        rows=tuple(WrittenRow.read(row) for row in _list(value.get("rows"))),
        alike=_count(value, "alike"),
        surplus=_count(value, "surplus"),
        broken=_count(value, "broken"),
        tokens_in=_count(value, "tokens_in"),
        tokens_out=_count(value, "tokens_out"),
        failure=str(value.get("failure") or ""),
        raw=str(value.get("raw") or ""),
        origin=str(value.get("origin") or ""),
        passage=str(value.get("passage") or ""),
        time=float(_count(value, "time")),
    )


def _count(value: Mapping[str, Any], name: str) -> int:
    found = value.get(name)
    return int(found) if isinstance(found, int | float) else 0


def _turn(value: object, place: int) -> tuple[str, str]:
    turn = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    role, wanted = turn.get("role"), _ROLES[place % 2]
    if role != wanted:
        raise DataError(f"turn {place + 1} must be of role {wanted}, but is of {role!r}.", "roles")
    words = _words(turn.get("content"), f"turn {place + 1}")
    if not words:
        raise DataError(f"turn {place + 1} is empty.", "empty")
    return wanted, words


def _words(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{what} must be text, but is {value!r}.", "type")
    # Half of a surrogate pair, which JSON can spell and no file in UTF-8 can hold.
    return value.strip().encode("utf-8", errors="replace").decode("utf-8")


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
