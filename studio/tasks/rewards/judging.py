"""Everything that gives points in a stage, asked together: library, functions of the user's own, a reward model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from studio.config.rewards import REWARD_MODEL, own_function
from studio.config.workspace import Workspace
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine
from studio.tasks.rewards.attempt import Attempt
from studio.tasks.rewards.own_file import Many, load_function, place_of
from studio.tasks.rewards.results import contains_answer, exact_answer
from studio.tasks.rewards.shape import json_answer, regex, thinking_format
from studio.tasks.rewards.wording import answer_length, forbidden_words, repetition, script

if TYPE_CHECKING:
    from studio.tasks.prompts import Prompt

FUNCTIONS: Mapping[str, Callable[..., float | None]] = {
    "exact_answer": exact_answer,
    "contains_answer": contains_answer,
    "regex": regex,
    "json": json_answer,
    "thinking_format": thinking_format,
    "answer_length": answer_length,
    "repetition": repetition,
    "forbidden_words": forbidden_words,
    "script": script,
}

SHOWN = 120  # characters of a value that a message repeats

Points = list[float | None]


@dataclass(frozen=True)
class Judge:
    """One reward. `name` is how the config names it, `label` how the metrics do; `path` is the user's file, or ""."""

    name: str
    label: str
    weight: float
    ask: Many
    path: str = ""

    def points(self, attempts: Sequence[Attempt]) -> Points:
        """One number, or None, for each attempt. Raises TaskError that names the reward, the row and what is wrong."""
        try:
            given = self.ask(attempts)
        except TaskError:
            raise
        except Exception as error:
            raise self._failed(error, self._culprit(attempts)) from error
        if not isinstance(given, (list, tuple)) or len(given) != len(attempts):
            got = f"{len(given)} values" if isinstance(given, (list, tuple)) else f"a {type(given).__name__}"
            raise TaskError(
                "reward",
                f"The reward {self.name} gave {got} for {len(attempts)} answers.",
                "It must return a list with one number, or None, for each answer.",
            )
        return [self._checked(value, attempt) for value, attempt in zip(given, attempts, strict=True)]

    def _checked(self, value: Any, attempt: Attempt) -> float | None:
        if value is None:
            return None
        try:
            number = math.nan if isinstance(value, (str, bytes)) else float(value)
        except (TypeError, ValueError, RuntimeError):
            number = math.nan
        if math.isfinite(number):
            return number
        raise TaskError(
            "reward",
            f"The reward {self.name} gave {_short(value)} on {attempt.where}.",
            "It must be a finite number, or None where the reward has nothing to say.",
        )

    def _culprit(self, attempts: Sequence[Attempt]) -> Attempt | None:
        """The first answer on which it fails alone; a function of many answers may fail on none."""
        for attempt in attempts:
            try:
                self.ask([attempt])
            except Exception:  # noqa: BLE001 - whatever it raises alone is the failure that is looked for
                return attempt
        return None

    def _failed(self, error: Exception, culprit: Attempt | None) -> TaskError:
        place = place_of(error, self.path) if self.path else ""
        where = f" on {culprit.where}, answer {_short(culprit.text)}" if culprit else ""
        text = " ".join(str(error).split())
        return TaskError(
            "reward",
            f"The reward {self.name} failed{where}: {type(error).__name__}: {text}"
            + (f" ({place})." if place else "."),
            "Correct it, and try it before the start: studio rewards try CONFIG.yaml.",
        )


@dataclass(frozen=True)
class Judges:
    """All rewards of a stage, in its order; a reward model is the last."""

    judges: tuple[Judge, ...]

    @property
    def labels(self) -> list[str]:
        """The names in the metrics, one each."""
        return [judge.label for judge in self.judges]

    @property
    def weights(self) -> list[float]:
        """What each counts."""
        return [judge.weight for judge in self.judges]

    def points(self, attempts: Sequence[Attempt]) -> dict[str, Points]:
        """The points of each reward, by its label. Raises TaskError."""
        return {judge.label: judge.points(attempts) for judge in self.judges}

    def totals(self, points: Mapping[str, Points]) -> Points:
        """What counts: the weighted sum of each answer, None where no reward had anything to say."""
        columns = [[None if value is None else judge.weight * value for value in points[judge.label]]
                   for judge in self.judges]  # fmt: skip
        return [_sum(row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Scorer:
    """Points of token ids: what a trainer asks. `prompts` are those of the data, by the column `row`."""

    judges: Judges
    prompts: Sequence[Prompt]
    tokenizer: Any

    def attempts(self, rows: Sequence[int], answers: Sequence[Sequence[int]]) -> list[Attempt]:
        """The answers to those rows, read as text."""
        texts = self.tokenizer.batch_decode([list(ids) for ids in answers], skip_special_tokens=True)
        return [
            attempt_of(self.prompts[row], text, len(ids)) for row, text, ids in zip(rows, texts, answers, strict=True)
        ]

    def __call__(self, rows: Sequence[Mapping[str, Any]], answers: Sequence[Sequence[int]]) -> dict[str, Points]:
        """The points by label and, as "reward", what counts."""
        points = self.judges.points(self.attempts([row["row"] for row in rows], answers))
        return {**points, "reward": self.judges.totals(points)}


def attempt_of(prompt: Prompt, text: str, tokens: int) -> Attempt:
    """An answer to a prompt, with all that a reward may look at."""
    return Attempt(text, tokens, prompt.text, prompt.messages, prompt.answer, prompt.where)


def load_judges(rewards: Sequence[Mapping[str, Any]], workspace: Workspace, machine: Machine) -> Judges:
    """The rewards of a plan (`online_arguments.reward_arguments`), ready to be asked; a reward model is loaded.

    Raises TaskError for files, functions and models that cannot be used.
    """
    names = [reward["name"] for reward in rewards]
    return Judges(tuple(_judge(reward, names, workspace, machine) for reward in rewards))


def _judge(reward: Mapping[str, Any], names: Sequence[str], workspace: Workspace, machine: Machine) -> Judge:
    name, weight, arguments = reward["name"], reward["weight"], reward["arguments"]
    if name == REWARD_MODEL:
        from studio.tasks.reward_model import load_reward_model

        return Judge(name, name, weight, partial(_scored, load_reward_model(reward["path"], workspace, machine)))
    own = own_function(name)
    if own is None:
        return Judge(name, name, weight, _each(FUNCTIONS[name], arguments))
    return Judge(name, _label(name, names), weight, load_function(*own, arguments, workspace), own[0])


def _each(function: Callable[..., float | None], arguments: Mapping[str, Any]) -> Many:
    return lambda attempts: [function(attempt, **arguments) for attempt in attempts]


def _scored(model: Any, attempts: Sequence[Attempt]) -> list[Any]:
    return list(model.score([attempt.messages for attempt in attempts], [attempt.text for attempt in attempts]))


def _label(name: str, names: Sequence[str]) -> str:
    """The name for metrics: a file's function by its own name, unless another reward has it too."""
    own = own_function(name)
    if own is None:
        return name
    twins = [other for other in names if (own_function(other) or ("", other))[1] == own[1]]
    return own[1] if len(twins) == 1 else name.replace("/", ".")


def _sum(row: Sequence[float | None]) -> float | None:
    known = [value for value in row if value is not None]
    return sum(known) if known else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
