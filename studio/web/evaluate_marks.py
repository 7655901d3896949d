"""What an answer has beyond its reference and what it lacks, in pieces that can be read."""

from __future__ import annotations

from studio.runs.evaluation_results import marked

MOST_WORK = 6_000_000
"""Letters of the reference times letters of the answer; beyond it the comparison would hold the page up."""

Mark = tuple[str, str]


def marks(reference: str, answer: str) -> list[Mark] | None:
    """The answer as (kind, text): "same", "added", or "missing" for what only the reference has.

    Spaces between two changed words belong to the change, so that a changed phrase is one phrase. Same and added make
    the answer, same and missing the reference. None for texts that are too long to compare.
    """
    if len(reference) * len(answer) > MOST_WORK:
        return None
    found = marked(reference, answer)
    parts: list[Mark] = []
    missing = added = ""
    for at, (text, kind) in enumerate(found):
        between = 0 < at < len(found) - 1 and "same" not in (found[at - 1][1], found[at + 1][1])
        if kind == "same" and between and text.isspace() and "\n" not in text:
            missing, added = missing + text, added + text
        elif kind == "same":
            parts += [*_change(missing, added), ("same", text)]
            missing = added = ""
        elif kind == "missing":
            missing += text
        else:
            added += text
    return [*parts, *_change(missing, added)]


def _change(missing: str, added: str) -> list[Mark]:
    return [mark for mark in (("missing", missing), ("added", added)) if mark[1]]
