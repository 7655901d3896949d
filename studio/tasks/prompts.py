"""From Examples to prompts: the ids that a model is given to answer, and beside them what a reward may want to see."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studio.config.workspace import Workspace
from studio.data.examples import BadRow, DataError, Example, Message
from studio.data.reading import Reading
from studio.tasks.dataset import read_rows
from studio.tasks.failures import TaskError
from studio.tasks.spans import Conversation

if TYPE_CHECKING:
    from datasets import Dataset

    from studio.tasks.setup import Setup

ROWS_AT_ONCE = 512  # prompts that the tokenizer gets in one call

IDS, ROW = "prompt", "row"  # columns of `as_dataset`


@dataclass(frozen=True)
class Prompt:
    """What is asked. `ids` reach up to where the answer begins; `answer` is the row's own one, None where it has none.

    `messages` are the turns before the answer, `where` names the row for messages to people.
    """

    ids: list[int]
    messages: tuple[Message, ...]
    answer: str | None
    where: str
    tools: str = ""

    @property
    def text(self) -> str:
        """The question for people: the one question, or all turns with their roles."""
        if len(self.messages) == 1 and self.messages[0].role == "user":
            return self.messages[0].content
        return "\n\n".join(f"{turn.role}: {turn.content or _calls(turn)}" for turn in self.messages)


@dataclass(frozen=True)
class Made:
    """Prompts in the order of their rows, and how many were left out because they are longer than `most` tokens."""

    prompts: list[Prompt] = field(default_factory=list[Prompt])
    too_long: int = 0
    most: int = 0

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt, 0 without prompts."""
        return max((len(prompt.ids) for prompt in self.prompts), default=0)

    def explain(self, name: str) -> list[str]:
        """The account in sentences; the second is there only when rows were left out."""
        answered = sum(prompt.answer is not None for prompt in self.prompts)
        lines = [
            f"{name}: {len(self.prompts):,} prompts, {answered:,} of them with an answer of their own, the longest "
            f"{self.longest:,} tokens."
        ]
        if self.too_long:
            lines.append(
                f"{name}: {self.too_long:,} prompts are longer than data.cutoff_len={self.most} and are left out."
            )
        return lines


@dataclass(frozen=True)
class PromptSets:
    """Prompts to train on and to evaluate on. Column `row` of a dataset counts in `prompts`: the first ones are those
    to train on, those to evaluate on follow. Without evaluation `validation` is None."""

    train: Dataset
    validation: Dataset | None
    prompts: list[Prompt]


def prepare(setup: Setup) -> PromptSets:
    """The prompts of a run's datasets, as its stage prepares them. Raises DataError and TaskError."""
    setup.reporter.phase("tokenizing")
    train, validation = prompts_of(
        setup.workspace, setup.plan.data, setup.tokenizer, setup.template, setup.config.data.cutoff_len
    )
    for name, made in {"Training data": train, "Validation data": validation}.items():
        for line in made.explain(name) if made else []:
            setup.reporter.notice(line)
    others = validation.prompts if validation else []
    return PromptSets(
        as_dataset(train.prompts),
        as_dataset(others, first=len(train.prompts)) if others else None,
        [*train.prompts, *others],
    )


def prompts_of(
    workspace: Workspace, arguments: Mapping[str, Any], tokenizer: Any, template: str, most: int
) -> tuple[Made, Made | None]:
    """Prompts to train on and to evaluate on, by the plan's data arguments; None where nothing is evaluated.

    Raises DataError for data that cannot be used, TaskError when no prompt is left.
    """
    train, validation = read_rows(workspace, arguments)
    made = make_prompts(train, tokenizer, template, most)
    if not made.prompts:
        raise TaskError(
            "data",
            f"No prompt is left: all {len(train):,} are longer than data.cutoff_len={most} tokens.",
            "Raise data.cutoff_len.",
        )
    return made, make_prompts(validation, tokenizer, template, most) if validation else None


def make_prompts(examples: Sequence[Example], tokenizer: Any, template: str, most: int) -> Made:
    """Each example up to where its last answer begins, in `tokenizer`'s ids by the chat template's text `template`.

    A row that ends with a question is asked as it is. Prompts of more than `most` tokens are left out and counted: cut
    off, they would ask something else. Raises DataError that names rows which the template refuses.
    """
    made: list[Prompt] = []
    refused, too_long = Reading(), 0
    for start in range(0, len(examples), ROWS_AT_ONCE):
        written = list(_written(examples[start : start + ROWS_AT_ONCE], tokenizer, template, refused))
        encoded = tokenizer([text for _, text in written], add_special_tokens=False)["input_ids"] if written else []
        for (example, _), ids in zip(written, encoded, strict=True):
            if len(ids) > most:
                too_long += 1
            else:
                made.append(_prompt(example, ids))
    if refused.broken:
        raise DataError(f"{refused.broken} rows cannot be asked.\n{refused.explain()}\nCorrect or remove them.")
    return Made(made, too_long, most)


def as_dataset(prompts: Sequence[Prompt], first: int = 0) -> Dataset:
    """A dataset with the columns `prompt` (ids) and `row`, which counts from `first`."""
    from datasets import Dataset

    rows = range(first, first + len(prompts))
    return Dataset.from_dict({IDS: [prompt.ids for prompt in prompts], ROW: list(rows)})


def _written(
    examples: Sequence[Example], tokenizer: Any, template: str, refused: Reading
) -> Iterator[tuple[Example, str]]:
    """The text of each prompt that the template takes; the others go to `refused`."""
    for example in examples:
        try:
            if example.text is not None:
                raise DataError("it is plain text, and this stage asks questions. Choose stage.type=pretrain.")
            conversation = Conversation(example.messages, tokenizer, template, example.tools)
            text = conversation.asking(_asked(example))
            text.encode()
        except UnicodeEncodeError:
            reason = "it holds half of a surrogate pair, which is no character. Correct the text."
            refused.refuse(BadRow(example.source, example.row, reason, example.line, "encoding"))
        except DataError as error:
            refused.refuse(BadRow(example.source, example.row, str(error), example.line, error.problem))
        else:
            yield example, text


def _asked(example: Example) -> int:
    """How many turns come before the answer."""
    return len(example.messages) - (example.messages[-1].role == "assistant")


def _prompt(example: Example, ids: list[int]) -> Prompt:
    count = _asked(example)
    last = example.messages[count] if count < len(example.messages) else None
    answer = None if last is None else last.content or _calls(last)
    return Prompt(list(ids), example.messages[:count], answer, example.where, example.tools)


def _calls(message: Message) -> str:
    calls = [{"name": call.name, "arguments": call.arguments} for call in message.calls]
    return json.dumps(calls, ensure_ascii=False) if calls else ""
