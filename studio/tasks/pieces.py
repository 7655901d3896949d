"""A text as the tokens that a tokenizer makes of it, each with the characters that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Piece:
    """One token. `start` and `end` are its characters in the text, equal where it has none of its own.

    `part`: the token holds only some bytes of characters that an earlier token has shown already. `added`: it stands
    in no text, the trainer put it there.
    """

    id: int
    text: str
    start: int
    end: int
    special: bool
    part: bool = False
    added: bool = False


def pieces_of(
    tokenizer: Any, text: str, ids: Sequence[int] | None = None, *, special_tokens: bool = False
) -> list[Piece]:
    """The tokens of `text`; where `ids` differ from them at the end, the ids that are more come as added pieces.

    `special_tokens`: the tokenizer puts its own around the text, as it does for plain text.
    """
    encoded = tokenizer(text, add_special_tokens=special_tokens, return_offsets_mapping=True)
    own, offsets = encoded["input_ids"], encoded["offset_mapping"]
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    found: list[Piece] = []
    reached = 0
    for place, token in enumerate(own if ids is None else ids):
        if place >= len(own) or token != own[place]:
            word = _word(tokenizer, token)
            found.append(Piece(token, word, reached, reached, token in special, added=True))
            continue
        start, end = offsets[place]
        part = start < reached and start < end <= reached
        # Some tokenizers leave spaces at a token's edge out of its place; the next token shows them.
        word = text[reached:end] if start < end and not part else ""
        reached = max(reached, end)
        found.append(Piece(token, word or _word(tokenizer, token), start, end, token in special, part=part))
    return found


def _word(tokenizer: Any, token: int) -> str:
    """A token's own name, for those that stand for no whole character."""
    return str(tokenizer.convert_ids_to_tokens(token))
