"""The elements of one JSON list, read from a stream one at a time with the line where each begins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any, NoReturn

from studio.data.examples import DataError
from studio.data.marks import BEGINNING, Mark

CHUNK = 1 << 20  # characters read at once
MOST_CHARACTERS = 1 << 26  # of one element: a larger one is a file that is no list of rows
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class ArrayReader:
    """Reads `stream` (text, line ends untouched), which stands at `start`. `source` is the file as messages name it.

    With a start behind the first row the columns that messages name in that line count from there.
    """

    def __init__(self, stream: IO[str], source: str, start: Mark = BEGINNING) -> None:
        self._stream, self._source, self._inside = stream, source, start.row > 0
        self._text, self._place, self._ended = "", 0, False
        self._line, self._column, self._offset = start.line, 1, start.offset  # of the character at _seen in _text
        self._seen = 0
        self._begin = 0  # of the newest element, in _text

    def mark(self, row: int) -> Mark:
        """Where the newest element begins, when `row` elements come before it."""
        return Mark(row, self._line, self._offset)

    @property
    def raw(self) -> str:
        """The newest element as it is written in the file."""
        return self._text[self._begin : self._place]

    def elements(self) -> Iterator[tuple[int, Any]]:
        """Line and value of each element. Raises DataError where the file stops being a JSON list."""
        if self._inside:
            yield from self._elements()
            return
        start = self._peek()
        if start == "":
            raise DataError(f"{self._source} holds no rows: it is empty. Fill it, or choose another dataset.")
        if start != "[":
            self._refuse_other_value()
        self._place += 1
        if self._peek() == "]":
            self._place += 1
            self._close()
        else:
            yield from self._elements()

    def _elements(self) -> Iterator[tuple[int, Any]]:
        mark = ""
        while mark != "]":
            self._peek()
            self._see(self._place)
            yield self._line, self._value()
            mark = self._peek()
            if mark not in (",", "]"):
                self._fail("Expecting ',' delimiter", self._place)
            self._place += 1
            if mark == "," and self._peek() == "]":
                self._fail("there is a comma behind the last row", self._place)
        self._close()

    def _close(self) -> None:
        if self._peek():
            self._fail("there is more behind the list", self._place)

    def _more(self) -> bool:
        """Drop what is read and add a chunk, as long as what is kept, so that a retry costs no more than before."""
        if self._ended:
            return False
        fresh = self._stream.read(max(CHUNK, len(self._text) - self._place))
        if not fresh:
            self._ended = True
            return False
        self._see(self._place)
        self._text, self._place, self._seen = self._text[self._place :] + fresh, 0, 0
        return True

    def _peek(self) -> str:
        """The next character that is not blank, "" at the end."""
        while True:
            match = _BLANK.match(self._text, self._place)
            self._place = match.end() if match else self._place
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def _value(self) -> Any:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                if len(self._text) - self._place > MOST_CHARACTERS:
                    self._fail(f"a row is longer than {MOST_CHARACTERS:,} characters, or is never closed", self._place)
                message, at = error.msg, error.pos - self._place
                if not self._more():
                    self._fail(message, self._place + at)
                continue
            except RecursionError:
                self._fail("a row is nested too deeply", self._place)
            except ValueError as error:  # a number of more digits than Python reads
                self._fail(str(error), self._place)
            # A number at the end of a chunk may go on in the next, also behind a "." or an "e+".
            if end + 2 < len(self._text) or not self._more():
                self._begin, self._place = self._place, end
                return value

    def _see(self, place: int) -> None:
        """Move line, column and offset on to a place: each character is counted once."""
        passed = self._text[self._seen : place]
        lines = passed.count("\n")
        self._column = len(passed) - passed.rindex("\n") if lines else self._column + len(passed)
        self._line += lines
        self._offset += len(passed) if passed.isascii() else len(passed.encode())
        self._seen = place

    def _fail(self, message: str, place: int) -> NoReturn:
        self._see(place)
        where = f"line {self._line}, column {self._column}"
        raise DataError(f"{self._source} is not valid JSON: {message} in {where}.", "not_json")

    def _refuse_other_value(self) -> NoReturn:
        value = self._value()
        if not self._peek():
            raise DataError(
                f"{self._source} must hold a list of rows, but holds a {type(value).__name__}. Put [ ] around the rows."
            )
        if isinstance(value, dict):
            stem = self._source.rpartition("/")[2].removesuffix(".gz").removesuffix(".json")
            raise DataError(f"{self._source} holds one object a line. Rename it to {stem}.jsonl.")
        self._fail("it is no list", self._place)
