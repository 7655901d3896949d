"""What the model sees of single rows: every token with its text, whether it is trained on, and where the cutoff lies.

The tokens and labels come from the trainer's own `tokenize_example`; nothing is tokenized in a way of its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from studio.config.workspace import Workspace
from studio.data.examples import BadRow, DataError, Example, Message
from studio.data.pages import StillIndexing, open_pages
from studio.data.reading import example_of, refuse_untrainable, source_of
from studio.data.registry import DatasetEntry, find_entry, load_registry, locate
from studio.tasks.desk import Desk, Seen
from studio.tasks.pieces import Piece, pieces_of
from studio.tasks.preference import as_judged
from studio.tasks.spans import Conversation, answer_spans
from studio.tasks.tokenize import IGNORED, TokenizedRow, tokenize_example

SECONDS_FOR_AN_INDEX = 20.0
MOST_TOKENS_SHOWN = 6000  # more would make a page slow, and nobody reads them
TRAINED, SPECIAL, PART, ADDED = 1, 2, 4, 8  # bits of a shown token


def rows(desk: Desk, body: Mapping[str, Any]) -> dict[str, Any]:
    """Some rows of one dataset as the model sees them. `body`: config (a tree), name, places (from 0) of the rows.

    Raises DataError for an unknown dataset or an unreadable file, and what `Desk.seen` raises. A row that cannot be
    used comes with its `problem`. A pair of answers comes twice, and `side` says with which of them.
    """
    seen = desk.seen(body["config"])
    entry = find_entry(load_registry(desk.workspace), body["name"])
    return {
        "cutoff": seen.settings.cutoff_len,
        "model": seen.config.model.path,
        "rows": [
            shown for place in body["places"] for shown in _rows(row_at(desk.workspace, entry, place), place, seen)
        ],
    }


def row_at(workspace: Workspace, entry: DatasetEntry, place: int) -> Example | BadRow:
    """The row at a place of a dataset: its number in the order of reading, from 0. Raises DataError beyond its end.

    Waits while the index of a huge file is being made, but not for ever: then it raises StillIndexing.
    """
    path = locate(workspace, entry)
    pages, deadline = open_pages(workspace, path), time.monotonic() + SECONDS_FOR_AN_INDEX
    while True:
        try:
            found = pages.page(place, 1)
            break
        except StillIndexing:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    if not found:
        raise DataError(f"{source_of(workspace, path)} has no row {place + 1}.")
    return found[0] if isinstance(found[0], BadRow) else example_of(found[0], entry)


def _rows(row: Example | BadRow, place: int, seen: Seen) -> list[dict[str, Any]]:
    if isinstance(row, BadRow) or row.chosen is None or row.kind not in seen.config.stage.kinds:
        return [_row(row, place, seen)]
    both = zip(("chosen", "rejected"), as_judged([row]), strict=True)
    return [{**_row(one, place, seen), "side": side} for side, one in both]


def _row(row: Example | BadRow, place: int, seen: Seen) -> dict[str, Any]:
    if isinstance(row, BadRow):
        return {"place": place, "where": str(row).partition(":")[0], "problem": row.reason}
    try:
        return {"place": place, "where": row.where, **look(row, seen)}
    except DataError as error:
        return {"place": place, "where": row.where, "problem": str(error)}


def look(example: Example, seen: Seen) -> dict[str, Any]:
    """One example: its tokens as [id, text, bits, turn], its turns, and how many are kept, cut off and trained on.

    The bits are TRAINED, SPECIAL, PART (of a character) and ADDED (by the trainer); a turn is an index of `turns`, -1
    for what the template writes. Raises DataError when the row cannot be used.
    """
    learnt = seen.config.stage.kinds
    refuse_untrainable(example, {*learnt, "judged"} if "preference" in learnt else learnt)
    whole = tokenize_example(example, seen.tokenizer, seen.template, seen.uncut)
    text = _text(example, seen)
    pieces = pieces_of(seen.tokenizer, text, whole.input_ids, special_tokens=seen.settings.plain_text)
    limit = len(whole.input_ids) if seen.settings.blocks else seen.settings.cutoff_len
    kept = TokenizedRow(whole.input_ids[:limit], whole.labels[:limit])
    # Nothing predicts the first token, so it gives no loss even where it has a label.
    trained = [place > 0 and label != IGNORED for place, label in enumerate(whole.labels)]
    return {
        **shown_pieces(pieces, example.messages, text, trained),
        "kept": len(kept.input_ids),
        "trained": kept.trained,
        "trained_whole": whole.trained,
    }


def _text(example: Example, seen: Seen) -> str:
    """The text whose tokens the trainer takes: without what the template writes behind an answer that it leaves open,
    since there the trainer puts the end token."""
    if example.text is not None:
        return example.text
    conversation = Conversation(example.messages, seen.tokenizer, seen.template, example.tools)
    spans = answer_spans(conversation)
    unclosed = bool(spans) and spans[-1].last and not conversation.is_closed(spans[-1])
    return conversation.text[: spans[-1].end] if unclosed else conversation.text


def shown_pieces(
    pieces: Sequence[Piece], messages: Sequence[Message], text: str, trained: Sequence[bool] = ()
) -> dict[str, Any]:
    """Tokens and turns as a page draws them: see `look`. Without messages the text is one turn."""
    turns = _turns(messages, text)
    shown = pieces[:MOST_TOKENS_SHOWN]
    flags = trained or [False] * len(pieces)
    return {
        "tokens": [
            [piece.id, piece.text, _bits(piece, flag), _turn(piece, turns)]
            for piece, flag in zip(shown, flags, strict=False)
        ],
        "turns": [role for role, _, _ in turns],
        "total": len(pieces),
        "shown": len(shown),
    }


def _bits(piece: Piece, trained: bool) -> int:
    return trained * TRAINED | piece.special * SPECIAL | piece.part * PART | piece.added * ADDED


def _turns(messages: Sequence[Message], text: str) -> list[tuple[str, int, int]]:
    """Role and characters [start, end) of each turn's own words, found in their order; the rest is the template's.

    A template may strip a turn or drop its thought; a turn that cannot be found is left out.
    """
    if not messages:
        return [("text", 0, len(text))]
    found: list[tuple[str, int, int]] = []
    reached = 0
    for message in messages:
        stripped = message.content.strip()
        for words in (message.content, stripped, stripped.rpartition("</think>")[2].strip()):
            start = text.find(words, reached) if words else -1
            if start >= 0:
                reached = start + len(words)
                found.append((message.role, start, reached))
                break
    return found


def _turn(piece: Piece, turns: Sequence[tuple[str, int, int]]) -> int:
    for place, (_, start, end) in enumerate(turns):
        if start <= piece.start < end and not piece.special:
            return place
    return -1
