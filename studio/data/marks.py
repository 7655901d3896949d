"""A place in a file from which reading can go on: the row that begins there, its line and its offset."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """Where a row begins: `row` rows come before it, `line` counts from 1 and `offset` is in bytes.

    In a gzipped file only the beginning can be a mark. The beginning of a file stands for whatever comes before its
    first row: a byte order mark, a bracket, the names of the columns.
    """

    row: int = 0
    line: int = 1
    offset: int = 0


BEGINNING = Mark()
