"""What is asked: the rows of the datasets, their prompts in tokens, and the references as the trainer sees them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from studio.config.workspace import Workspace
from studio.data.examples import BadRow, DataError, Example, Message
from studio.data.reading import Reading, read_datasets
from studio.tasks.failures import TaskError
from studio.tasks.spans import Conversation
from studio.tasks.tokenize import Settings, TokenizedRow, tokenize_examples

ROWS_AT_ONCE = 64  # rows that are tokenized between two reports
UNCUT = 1 << 30  # a cutoff that no row reaches: references are never cut


@dataclass(frozen=True)
class Question:
    """One row. `row` counts the rows of its dataset from 1; a plain text has no answer and no prompt."""

    dataset: str
    row: int
    example: Example

    @property
    def asks(self) -> bool:
        """Whether there is something to answer."""
        return self.example.text is None

    @property
    def prompt(self) -> str:
        """What is asked, for people: the one question, or all turns with their roles."""
        turns = self.example.messages[:-1]
        if len(turns) == 1 and turns[0].role == "user":
            return turns[0].content
        return "\n\n".join(f"{turn.role}: {turn.content or _calls(turn)}" for turn in turns)

    @property
    def reference(self) -> str:
        """The answer that the row gives; calls of tools as JSON."""
        if not self.asks:
            return self.example.text or ""
        last = self.example.messages[-1]
        return last.content or _calls(last)


@dataclass(frozen=True)
class Prepared:
    """A question in one model's tokens: the prompt, and the whole row with labels on the reference alone."""

    question: Question
    prompt: list[int]
    whole: TokenizedRow


def read_questions(workspace: Workspace, datasets: Sequence[str], max_samples: int | None) -> list[Question]:
    """Every row of the datasets that ends with an answer, and every plain text; each row once.

    Raises DataError for datasets that cannot be read, TaskError when no row is left.
    """
    found: list[Question] = []
    unanswered = 0
    for name in datasets:
        seen: set[tuple[str, int]] = set()
        for number, example in enumerate(read_datasets(workspace, [name], max_samples=max_samples).examples, start=1):
            answered = example.text is not None or (example.messages and example.messages[-1].role == "assistant")
            unanswered += not answered
            if answered and (example.source, example.row) not in seen:
                seen.add((example.source, example.row))
                found.append(Question(name, number, example))
    if not found:
        raise TaskError(
            "data",
            f"No row of {', '.join(datasets)} ends with an answer ({unanswered} rows have none).",
            "Choose datasets whose rows end with the answer that is expected.",
        )
    return found


def prepare(
    questions: Sequence[Question], tokenizer: Any, template: Callable[[], str], progress: Callable[[int], None]
) -> list[Prepared]:
    """The questions in tokens, in order. `template` is asked for only when there is a conversation.

    Raises DataError that names rows which the template refuses.
    """
    text = template() if any(question.asks for question in questions) else ""
    found: list[Prepared] = []
    refused = Reading()
    for start in range(0, len(questions), ROWS_AT_ONCE):
        part = questions[start : start + ROWS_AT_ONCE]
        for question, row in zip(part, _tokenized(part, tokenizer, text), strict=True):
            if isinstance(row, DataError):
                refused.refuse(BadRow(question.example.source, question.example.row, str(row)))
            else:
                ids = prompt_ids(question.example, tokenizer, text) if question.asks else []
                found.append(Prepared(question, ids, row))
        progress(start + len(part))
    if refused.broken:
        raise DataError(f"{refused.broken} rows cannot be asked.\n{refused.explain()}\nCorrect or remove them.")
    return found


def _tokenized(questions: Sequence[Question], tokenizer: Any, template: str) -> list[TokenizedRow | DataError]:
    """Whole rows with labels on their last answers, in order; plain texts are labelled from end to end."""
    found: dict[int, TokenizedRow | DataError] = {}
    for asks, settings in ((True, Settings(UNCUT, mask_history=True)), (False, Settings(UNCUT, plain_text=True))):
        places = [place for place, question in enumerate(questions) if question.asks == asks]
        rows = tokenize_examples([_judged(questions[place].example) for place in places], tokenizer, template, settings)
        found |= dict(zip(places, rows, strict=True))
    return [found[place] for place in range(len(questions))]


def prompt_ids(example: Example, tokenizer: Any, template: str) -> list[int]:
    """The tokens up to where the last answer begins. Raises DataError when the template refuses them."""
    conversation = Conversation(example.messages, tokenizer, template, example.tools)
    text = conversation.asking(len(example.messages) - 1)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def fitting(rows: Sequence[Prepared], context: int) -> list[Prepared]:
    """The rows that fit into the context together with their reference."""
    return [row for row in rows if max(len(row.whole.input_ids), len(row.prompt) + 1) <= context]


def context_of(model: Any, wanted: int | None) -> int:
    """The longest row in tokens: as wanted, at most what the model was made for."""
    config = model.config.get_text_config()
    made_for = getattr(config, "max_position_embeddings", None) or UNCUT
    return min(wanted or made_for, made_for)


def _judged(example: Example) -> Example:
    """The row with its last answer marked as learnt: a row may leave it out of training, but not out of a test."""
    if not example.messages:
        return example
    *before, last = example.messages
    return replace(example, messages=(*before, replace(last, trained=True)))


def _calls(message: Message) -> str:
    calls = [{"name": call.name, "arguments": call.arguments} for call in message.calls]
    return json.dumps(calls, ensure_ascii=False) if calls else ""
