"""Check a dataset row by row in a stream: what cannot be used, what should not be, and where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from studio.config.workspace import Workspace
from studio.data.damage import damage, script
from studio.data.duplicates import Exact, Near, digest
from studio.data.examples import BadRow, DataError, Example, Message
from studio.data.reading import refuse_untrainable, stream_entry
from studio.data.registry import find_entry, load_registry
from studio.data.report import Finding, Found, Places, Report

CHARACTERS_A_TOKEN = (
    4  # a rough mean for English; Chinese has fewer, code more or less: an estimate, and said to be one
)
ROWS_BETWEEN_REPORTS = 2000

Progress = Callable[[int], None]


def check_dataset(
    workspace: Workspace,
    name: str,
    *,
    against: Sequence[str] = (),
    cutoff: int | None = None,
    near: bool = True,
    progress: Progress | None = None,
) -> Report:
    """The report on one dataset of the registry; `against` are the datasets that it must not share a question with.

    `cutoff` is in tokens, estimated at 4 characters each. `progress` hears how many rows are done. Raises DataError
    for a name that is unknown; a file that cannot be read becomes part of the report.
    """
    registry = load_registry(workspace)
    held = _questions(row for other in against for row in stream_entry(workspace, find_entry(registry, other)))
    return check_rows(stream_entry(workspace, find_entry(registry, name)), held, cutoff, near, progress)


def check_rows(
    rows: Iterable[Example | BadRow],
    held: dict[int, str] | None = None,
    cutoff: int | None = None,
    near: bool = True,
    progress: Progress | None = None,
) -> Report:
    """The report on a stream of rows; `held` maps digests of questions that belong to evaluation to their places."""
    check = _Check(held or {}, cutoff, near)
    stream = iter(rows)
    while True:
        try:
            row = next(stream)
        except StopIteration:
            return check.report
        except DataError as error:
            check.report.broken_off = str(error)
            check.report.add(error.problem, len(check.places.rows), Found("", 0, 0, str(error)))
            return check.report
        check.take(row)
        if progress is not None and check.report.rows % ROWS_BETWEEN_REPORTS == 0:
            progress(check.report.rows)


class _Check:
    """The state of one check: what was found, and what must be remembered to see a row again."""

    def __init__(self, held: dict[int, str], cutoff: int | None, near: bool) -> None:
        self.report, self.places, self.held, self.cutoff = Report(), Places(), held, cutoff
        self.exact, self.near = Exact(), Near() if near else None

    def take(self, row: Example | BadRow) -> None:
        """Check the next row."""
        number = self.places.add(row.source, row.row)
        self.report.rows += 1
        if isinstance(row, BadRow):
            self.report.add(row.problem, number, Found(row.source, row.row, row.line, row.reason))
            return
        self.report.usable += 1
        texts = texts_of(row)
        for kind, text in chain(self._kind(row), self._look(row, texts), self._compare(row, texts, number)):
            self.report.add(kind, number, Found(row.source, row.row, row.line, text))

    def _kind(self, row: Example) -> Iterator[tuple[Finding, str]]:
        self.report.kinds[row.kind] += 1
        try:
            refuse_untrainable(row)
        except DataError as error:
            yield ("placeholder" if error.problem == "placeholder" else "untrainable"), str(error)

    def _look(self, row: Example, texts: Sequence[str]) -> Iterator[tuple[Finding, str]]:
        """What can be seen in the row alone."""
        size = sum(map(len, texts))
        self.report.characters += size
        self.report.longest = max(self.report.longest, size)
        self.report.scripts[script(max(texts, key=len))] += 1
        if self.cutoff and size > self.cutoff * CHARACTERS_A_TOKEN:
            yield "long", f"about {size // CHARACTERS_A_TOKEN:,} tokens, and the cutoff is {self.cutoff:,}."
        order = disorder(row.messages)
        if order:
            yield "order", order
        broken = next(filter(None, map(damage, texts)), None)
        if broken:
            yield "damaged", broken

    def _compare(self, row: Example, texts: Sequence[str], number: int) -> Iterator[tuple[Finding, str]]:
        """What can be seen only beside other rows."""
        if self.held:
            other = self.held.get(question_digest(row))
            if other is not None:
                yield "overlap", f"its question is also {other}."
        key = digest(texts)
        first = self.exact.find(key)
        if first is not None:
            yield "duplicate", f"it is the same as {self.places.at(first)}."
            return
        self.exact.add(key, number)
        like = self.near.seen("\n".join(texts), number) if self.near else None
        if like is not None:
            yield "near_duplicate", f"it is nearly the same as {self.places.at(like)}."


def texts_of(row: Example) -> list[str]:
    """All that is said in a row, in its order; never empty."""
    if row.text is not None:
        return [row.text]
    sides = (side for side in (row.chosen, row.rejected) if side is not None)
    said = [*row.messages, *sides]
    return [text for message in said for text in (message.content, *(call.arguments for call in message.calls))]


def question_digest(row: Example) -> int:
    """What tells the questions of two rows apart: all user turns before the first answer, or the text itself."""
    if row.text is not None:
        return digest((row.text.strip(),))
    asked: list[str] = []
    for message in row.messages:
        if message.role == "assistant":
            break
        if message.role == "user":
            asked.append(message.content.strip())
    return digest(asked)


def disorder(messages: Sequence[Message]) -> str | None:
    """Why the turns are not question and answer by turns, None when they are. Preferences end with a question."""
    before = ""
    for place, message in enumerate(messages, start=1):
        if message.role == before and message.role in ("user", "assistant"):
            return f"turn {place} is a second turn of {message.role} in a row."
        if message.role == "assistant" and before in ("", "system"):
            return f"turn {place} is an answer that no question comes before."
        before = message.role
    return None


def _questions(rows: Iterable[Example | BadRow]) -> dict[int, str]:
    return {question_digest(row): row.where for row in rows if isinstance(row, Example)}
