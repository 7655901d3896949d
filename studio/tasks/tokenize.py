"""From an Example to token ids and labels: what is trained on and what is not. Pure, given a tokenizer.

The page that shows tokens and the trainer both call `tokenize_example`, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from studio.data.examples import DataError, Example
from studio.tasks.spans import Conversation, Span, answer_spans

IGNORED = -100  # the label that torch's cross-entropy leaves out


@dataclass(frozen=True)
class Settings:
    """How rows become tokens; the fields are explained in the config's data and stage sections."""

    cutoff_len: int
    plain_text: bool = False
    train_on_prompt: bool = False
    mask_history: bool = False
    blocks: bool = False


@dataclass(frozen=True)
class TokenizedRow:
    """Token ids and, of the same length, labels: the id where it is trained on, else -100. `cut` says that the
    cutoff took something away."""

    input_ids: list[int]
    labels: list[int]
    cut: bool = False

    @property
    def trained(self) -> int:
        """Tokens that give a loss: those with a label, but never the first, which nothing predicts."""
        return sum(label != IGNORED for label in self.labels[1:])


def tokenize_example(example: Example, tokenizer: Any, template: str, settings: Settings) -> TokenizedRow:
    """Ids and labels of one example. Raises DataError, without the place, when the row cannot be used.

    `tokenizer` is a fast tokenizer of transformers, `template` the text of a chat template (unused for plain text).
    """
    if settings.plain_text:
        return _plain(example, tokenizer, settings)
    if example.text is not None:
        raise DataError("it is plain text, and stage sft learns conversations. Choose stage.type=pretrain.")
    return _chat(example, tokenizer, template, settings)


def cut_into_blocks(rows: Iterable[TokenizedRow], length: int) -> list[TokenizedRow]:
    """All rows one after another, cut into blocks of `length` tokens; the last one may be shorter.

    Texts are separated by their end tokens alone, as is usual in pre-training. A last block of one token is dropped:
    nothing can be predicted in it.
    """
    ids = [token for row in rows for token in row.input_ids]
    blocks = [ids[start : start + length] for start in range(0, len(ids), length)]
    return [TokenizedRow(block, list(block)) for block in blocks if len(block) > 1]


def _plain(example: Example, tokenizer: Any, settings: Settings) -> TokenizedRow:
    if example.text is None:
        raise DataError("it is a conversation, and stage pretrain learns plain text. Choose stage.type=sft.")
    ids: list[int] = tokenizer(example.text)["input_ids"]
    if not ids or ids[-1] != tokenizer.eos_token_id:
        ids = [*ids, tokenizer.eos_token_id]
    if settings.blocks:
        return TokenizedRow(ids, list(ids))
    return _cut(ids, list(ids), settings.cutoff_len)


def _chat(example: Example, tokenizer: Any, template: str, settings: Settings) -> TokenizedRow:
    conversation = Conversation(example.messages, tokenizer, template)
    text, spans = conversation.text, answer_spans(conversation)
    ends_unclosed = bool(spans) and spans[-1].last and not conversation.is_closed(spans[-1])
    if ends_unclosed:
        text = text[: spans[-1].end]
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = encoded["input_ids"]
    trained = _trained_spans(spans, settings)
    labels = list(ids) if settings.train_on_prompt else _labels(ids, encoded["offset_mapping"], trained)
    if ends_unclosed:
        # The template ends an answer without an end token; without one the model would never learn to stop.
        eos = tokenizer.eos_token_id
        learnt = settings.train_on_prompt or spans[-1] in trained
        ids, labels = [*ids, eos], [*labels, eos if learnt else IGNORED]
    return _cut(ids, labels, settings.cutoff_len)


def _trained_spans(spans: Sequence[Span], settings: Settings) -> list[Span]:
    chosen = spans[-1:] if settings.mask_history else spans
    return [span for span in chosen if span.trained]


def _labels(ids: Sequence[int], offsets: Sequence[tuple[int, int]], spans: Sequence[Span]) -> list[int]:
    """The ids of tokens that lie at least partly in a span. Spans and offsets come in the order of the text."""
    labels, place = [IGNORED] * len(ids), 0
    for index, (start, end) in enumerate(offsets):
        while place < len(spans) and spans[place].end <= start:
            place += 1
        if place == len(spans):
            break
        # A token without characters of its own belongs to the span that it stands in.
        if max(end, start + 1) > spans[place].start:
            labels[index] = ids[index]
    return labels


def _cut(ids: list[int], labels: list[int], length: int) -> TokenizedRow:
    return TokenizedRow(ids[:length], labels[:length], cut=len(ids) > length)
