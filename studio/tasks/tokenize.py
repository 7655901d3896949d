"""From Examples to token ids and labels: what is trained on and what is not. Pure, given a tokenizer.

One row, many rows and whole datasets take the same three steps: written out by Python, encoded by the tokenizer in
one call for many rows, labelled by Python. So the page that shows tokens and the trainer cannot disagree.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from studio.data.examples import DataError, Example
from studio.tasks.spans import Conversation, Span, answer_spans

IGNORED = -100  # the label that torch's cross-entropy leaves out
NO_CUTOFF = 1 << 62

# What a row becomes: ids with labels, or a prompt with two answers or with one that is judged (see preference.py).
Form = Literal["labels", "pairs", "judged"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Settings:
    """How rows become tokens; the fields are explained in the config's data and stage sections."""

    cutoff_len: int
    plain_text: bool = False
    train_on_prompt: bool = False
    mask_history: bool = False
    blocks: bool = False
    form: Form = "labels"


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
        first = self.labels[:1]
        return len(self.labels) - self.labels.count(IGNORED) - (len(first) - first.count(IGNORED))


@dataclass(frozen=True)
class _Written:
    """One example as text, with the spans that are trained on; None means every token.

    `unclosed`: the end token is missing and follows; `end_trained`: it is trained on.
    """

    text: str
    trained: Sequence[Span] | None = None
    unclosed: bool = False
    end_trained: bool = True


def tokenize_example(example: Example, tokenizer: Any, template: str, settings: Settings) -> TokenizedRow:
    """Ids and labels of one example. Raises DataError, without the place, when the row cannot be used.

    `tokenizer` is a fast tokenizer of transformers, `template` the text of a chat template (unused for plain text).
    """
    (row,) = tokenize_examples([example], tokenizer, template, settings)
    if isinstance(row, DataError):
        raise row
    return row


def tokenize_examples(
    examples: Iterable[Example], tokenizer: Any, template: str, settings: Settings
) -> list[TokenizedRow | DataError]:
    """What `tokenize_example` makes of each, or raises, in order; the tokenizer is called once."""
    written = [_write(example, tokenizer, template, settings) for example in examples]
    return _label(*_encode(written, _backend(tokenizer), settings), tokenizer, settings)


def tokenize_stream(
    chunks: Iterable[Sequence[Example]], tokenizer: Any, template: str, settings: Settings
) -> Iterator[list[TokenizedRow | DataError]]:
    """The same chunk by chunk: while the tokenizer, which needs no Python, encodes some, others are written out and
    labelled. Two are given to it, so that it need not wait for Python between them."""
    backend = _backend(tokenizer)
    written = ([_write(example, tokenizer, template, settings) for example in chunk] for chunk in chunks)
    with ThreadPoolExecutor(2) as encoders:
        for encoded in in_order(encoders, lambda texts: _encode(texts, backend, settings), written, ahead=2):
            yield _label(*encoded, tokenizer, settings)


def in_order(pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Iterator[Result]:
    """`work` of each item, in order. At most `ahead` items are begun beyond the one that is waited for."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def cut_into_blocks(rows: Iterable[TokenizedRow], length: int) -> Iterator[TokenizedRow]:
    """All rows one after another, cut into blocks of `length` tokens; the last one may be shorter.

    Texts are separated by their end tokens alone, as is usual in pre-training. A last block of one token is dropped:
    nothing can be predicted in it.
    """
    ids: list[int] = []
    for row in rows:
        ids += row.input_ids
        whole = len(ids) - len(ids) % length
        for start in range(0, whole, length):
            block = ids[start : start + length]
            yield TokenizedRow(block, list(block))
        ids = ids[whole:]
    if len(ids) > 1:
        yield TokenizedRow(ids, list(ids))


def _write(example: Example, tokenizer: Any, template: str, settings: Settings) -> _Written | DataError:
    try:
        written = _plain(example) if settings.plain_text else _chat(example, tokenizer, template, settings)
        written.text.encode()
    except UnicodeEncodeError:
        return DataError("it holds half of a surrogate pair, which is no character. Correct the text.", "encoding")
    except DataError as error:
        return error
    return written


def _plain(example: Example) -> _Written:
    if example.text is None:
        raise DataError("it is a conversation, and stage pretrain learns plain text. Choose stage.type=sft.")
    return _Written(example.text)


def _chat(example: Example, tokenizer: Any, template: str, settings: Settings) -> _Written:
    if example.text is not None:
        raise DataError("it is plain text, and stage sft learns conversations. Choose stage.type=pretrain.")
    conversation = Conversation(example.messages, tokenizer, template, example.tools)
    text, spans = conversation.text, answer_spans(conversation)
    trained = _trained_spans(spans, settings)
    chosen = None if settings.train_on_prompt else trained
    if not spans or not spans[-1].last or conversation.is_closed(spans[-1]):
        return _Written(text, chosen)
    # The template ends an answer without an end token; without one the model would never learn to stop.
    learnt = settings.train_on_prompt or spans[-1] in trained
    return _Written(text[: spans[-1].end], chosen, unclosed=True, end_trained=learnt)


def _trained_spans(spans: Sequence[Span], settings: Settings) -> list[Span]:
    chosen = spans[-1:] if settings.mask_history else spans
    return [span for span in chosen if span.trained]


def _backend(tokenizer: Any) -> Any:
    """The tokenizer proper, as an ordinary call leaves it: a tokenizer.json may bring truncation and padding along."""
    tokenizer("")
    return tokenizer.backend_tokenizer


def _encode(
    written: list[_Written | DataError], backend: Any, settings: Settings
) -> tuple[list[_Written | DataError], list[Any]]:
    """What was written, and the encoding of each text in it: its ids and where in the text each token lies."""
    texts = [one.text for one in written if isinstance(one, _Written)]
    return written, backend.encode_batch(texts, add_special_tokens=settings.plain_text)


def _label(
    written: list[_Written | DataError], encodings: list[Any], tokenizer: Any, settings: Settings
) -> list[TokenizedRow | DataError]:
    encoded, end = iter(encodings), tokenizer.eos_token_id
    return [one if isinstance(one, DataError) else _row(one, next(encoded), end, settings) for one in written]


def _row(written: _Written, encoding: Any, end: int, settings: Settings) -> TokenizedRow:
    ids: list[int] = encoding.ids
    labels = list(ids) if written.trained is None else _labels(ids, encoding, written.trained)
    if written.unclosed or (settings.plain_text and ids[-1:] != [end]):
        ids.append(end)
        labels.append(end if written.end_trained else IGNORED)
    if settings.blocks or len(ids) <= settings.cutoff_len:
        return TokenizedRow(ids, labels)
    return TokenizedRow(ids[: settings.cutoff_len], labels[: settings.cutoff_len], cut=True)


def _labels(ids: list[int], encoding: Any, spans: Sequence[Span]) -> list[int]:
    """The ids of tokens that lie at least partly in a span, found by bisection: tokens lie in the order of the text.

    `encoding` is the tokenizer's account of the text; some leave the spaces at a token's edges out of its place.
    """
    place: Callable[[int], tuple[int, int]] = encoding.token_to_chars
    tokens: list[str] = []  # asked for once, and only where a place lacks spaces
    last, numbers, labels = len(ids) - 1, range(len(ids)), [IGNORED] * len(ids)

    def begun(number: int) -> int:
        return place(number)[0]

    def behind(number: int) -> int:
        own, following = place(number)[1], begun(number + 1) if number < last else 0
        if following <= own:
            return own
        # The spaces between two tokens are the first one's as far as it ends with spaces, else the second one's.
        tokens.extend(() if tokens else encoding.tokens)
        bare = tokens[number].rstrip("Ġ")
        return min(own + len(tokens[number]) - len(bare), following) if bare else own

    def start(number: int) -> int:
        return min(begun(number), behind(number - 1)) if number else 0

    def end(number: int) -> int:
        # A token without characters of its own belongs to the span that it stands in.
        return max(behind(number), start(number) + 1)

    for span in spans:
        if span.start == span.end:
            continue  # an empty answer, in the midst of a token perhaps
        first, after = bisect_right(numbers, span.start, key=begun), bisect_left(numbers, span.end, key=begun)
        while first and end(first - 1) > span.start:
            first -= 1
        while after <= last and start(after) < span.end:
            after += 1
        labels[first:after] = ids[first:after]
    return labels
