"""From judged answers to token ids: the prompt, and one answer behind it or two. Pure, given a tokenizer.

Each answer is tokenized as the last turn of its conversation by the very code of supervised fine-tuning, so template,
end tokens, tools and turns are the same there and here. What that code would train on is the answer, and what comes
before it is the prompt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from studio.data.examples import DataError, Example
from studio.tasks.tokenize import IGNORED, NO_CUTOFF, Settings, TokenizedRow, tokenize_examples, tokenize_stream

PROMPT_SHARE = 4  # a prompt that must be cut keeps at least the cutoff divided by this


@dataclass(frozen=True)
class JudgedRow:
    """A prompt and the answers to it as token ids: the chosen and the rejected one, or one alone that is `good` or not.

    `cut` says that the cutoff took something away, `answers_cut` that it took the end of an answer.
    """

    prompt_ids: list[int]
    answers: tuple[list[int], ...]
    good: bool | None = None
    cut: bool = False
    answers_cut: bool = False

    @property
    def alike(self) -> bool:
        """Two answers of the same tokens, between which nothing can be preferred."""
        return len(self.answers) > 1 and self.answers[0] == self.answers[1]

    @property
    def trained(self) -> int:
        """Tokens that give a loss: those of the answers, none where one of them is empty or both are the same."""
        return sum(map(len, self.answers)) if all(self.answers) and not self.alike else 0


def as_judged(examples: Iterable[Example]) -> list[Example]:
    """Each pair as one good and one bad answer to the same turns; rows with a judgement as they are."""
    judged: list[Example] = []
    for example in examples:
        conversations = conversations_of(example)
        labels = (True, False) if example.chosen is not None else (example.label,)
        judged += [replace(one, label=label) for one, label in zip(conversations, labels, strict=True)]
    return judged


def conversations_of(example: Example) -> list[Example]:
    """The row as conversations that end with an answer: one for the chosen and one for the rejected, or itself."""
    if example.chosen is None or example.rejected is None:
        return [example]
    sides = (example.chosen, example.rejected)
    return [replace(example, messages=(*example.messages, side), chosen=None, rejected=None) for side in sides]


def tokenize_judged(
    examples: Sequence[Example], tokenizer: Any, template: str, settings: Settings
) -> list[JudgedRow | DataError]:
    """Prompt and answers of each example, or why there are none, in order; the tokenizer is called once.

    `settings.form` says whether they are pairs or single answers.
    """
    apart = [one for example in examples for one in conversations_of(example)]
    return _joined(examples, tokenize_examples(apart, tokenizer, template, _whole(settings)), tokenizer, settings)


def judged_stream(
    chunks: Iterable[Sequence[Example]], tokenizer: Any, template: str, settings: Settings
) -> Iterator[list[JudgedRow | DataError]]:
    """The same chunk by chunk, while the tokenizer works on the next ones."""
    waiting: deque[Sequence[Example]] = deque()

    def apart() -> Iterator[list[Example]]:
        for chunk in chunks:
            waiting.append(chunk)
            yield [one for example in chunk for one in conversations_of(example)]

    for outcomes in tokenize_stream(apart(), tokenizer, template, _whole(settings)):
        yield _joined(waiting.popleft(), outcomes, tokenizer, settings)


def fit(prompt: list[int], answers: Sequence[list[int]], most: int, begin: int | None) -> JudgedRow:
    """Prompt and answers within `most` tokens together.

    First the beginning of the prompt goes, for its end is the question; `begin`, the token with which the model expects
    every text to begin, stays. A prompt keeps a quarter of `most`; what is then too much goes from the answers' ends.
    """
    room = max(most - max(map(len, answers)), most // PROMPT_SHARE, 1)
    kept = prompt
    if len(prompt) > room:
        opening = prompt[:1] if prompt[0] == begin and room > 1 else []
        kept = [*opening, *prompt[len(prompt) - room + len(opening) :]]
    left = max(most - len(kept), 0)
    short = any(len(answer) > left for answer in answers)
    return JudgedRow(kept, tuple(answer[:left] for answer in answers), None, short or len(kept) < len(prompt), short)


def _whole(settings: Settings) -> Settings:
    return replace(settings, cutoff_len=NO_CUTOFF, mask_history=True)


def _joined(
    examples: Sequence[Example], outcomes: Sequence[TokenizedRow | DataError], tokenizer: Any, settings: Settings
) -> list[JudgedRow | DataError]:
    """The conversations of each example together again."""
    sides = 2 if settings.form == "pairs" else 1
    parts = [outcomes[start : start + sides] for start in range(0, len(outcomes), sides)]
    return [_row(example, both, tokenizer, settings) for example, both in zip(examples, parts, strict=True)]


def _row(
    example: Example, parts: Sequence[TokenizedRow | DataError], tokenizer: Any, settings: Settings
) -> JudgedRow | DataError:
    found: list[tuple[list[int], list[int]]] = []
    for part in parts:
        if isinstance(part, DataError):
            return part
        found.append(_parted(part))
    # A first letter may melt into the last token of the prompt; then that token belongs to the answers.
    shared = _shared(found[0][0], found[-1][0])
    answers = [before[shared:] + answer if answer else [] for before, answer in found]
    row = fit(found[0][0][:shared], answers, settings.cutoff_len, tokenizer.bos_token_id)
    return replace(row, good=example.label)


def _shared(first: list[int], second: list[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))


def _parted(row: TokenizedRow) -> tuple[list[int], list[int]]:
    """What comes before the answer, and the answer up to its last token with a label."""
    marked = [place for place, label in enumerate(row.labels) if label != IGNORED]
    if not marked:
        return row.input_ids, []
    return row.input_ids[: marked[0]], row.input_ids[marked[0] : marked[-1] + 1]
