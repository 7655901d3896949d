"""The rewards that Studio brings: what each gives points for and what it takes. tasks/rewards computes them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from studio.config.faults import Fault

ParameterKind = Literal["whole", "number", "text", "flag", "choice", "list", "mapping", "pattern"]

REWARD_MODEL = "reward_model"
"""The name of the reward model among the rewards: for its weight, and in the metrics."""

MOST_WEIGHT = 1e6

_OWN = re.compile(r"(?P<path>.+\.py):(?P<function>[^\W\d]\w*)")


@dataclass(frozen=True)
class Parameter:
    """One argument of a reward. Without a default (None) and `needed` it must be given; bounds hold for numbers."""

    name: str
    kind: ParameterKind
    sentence: str
    default: Any = None
    needed: bool = False
    at_least: float = 0
    at_most: float = 1_000_000
    options: tuple[str, ...] = ()

    def takes(self, value: Any) -> bool:
        """Whether the value is allowed."""
        if value is None:
            return self.default is None and not self.needed
        return _ALLOWED[self.kind](self, value)

    @property
    def expected(self) -> str:
        """What is allowed, in YAML's own signs, so that it reads in every language."""
        if self.kind in ("whole", "number"):
            between = f"{self.at_least:g} … {self.at_most:g}"
            return f"{between} (1, 2, 3 …)" if self.kind == "whole" else between
        return {
            "text": '"…"',
            "flag": "true | false",
            "choice": " | ".join(self.options),
            "list": "[…, …]",
            "mapping": "{…: …}",
            "pattern": "regex",
        }[self.kind]


@dataclass(frozen=True)
class RewardEntry:
    """One reward of the library. `best` is the most it gives; penalties give 0 at best."""

    name: str
    sentence: str
    parameters: tuple[Parameter, ...] = ()
    needs_answer: bool = False
    best: float = 1.0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _in_bounds(parameter: Parameter, value: Any) -> bool:
    return _is_number(value) and parameter.at_least <= value <= parameter.at_most


def _is_pattern(value: Any) -> bool:
    try:
        re.compile(value)
    except (re.error, TypeError):
        return False
    return bool(value)


_ALLOWED: Mapping[str, Callable[[Parameter, Any], bool]] = {
    "whole": lambda parameter, value: isinstance(value, int) and _in_bounds(parameter, value),
    "number": _in_bounds,
    "text": lambda parameter, value: isinstance(value, str) and bool(value),
    "flag": lambda parameter, value: isinstance(value, bool),
    "choice": lambda parameter, value: value in parameter.options,
    "list": lambda parameter, value: (
        isinstance(value, list)
        and bool(cast("list[Any]", value))
        and all(isinstance(item, str) and item for item in cast("list[Any]", value))
    ),
    "mapping": lambda parameter, value: isinstance(value, dict) and bool(cast("dict[str, Any]", value)),
    "pattern": lambda parameter, value: _is_pattern(value),
}

_EXTRACT = Parameter(
    "extract",
    "choice",
    "What of an answer is compared: all of it, its last number, what stands in \\boxed{}, or what follows the marker; "
    "auto takes the first of boxed, marker and number that is there.",
    "auto",
    options=("auto", "whole", "number", "boxed", "marker"),
)
_MARKER = Parameter("marker", "text", "The text behind which the result stands.", "####")
_IGNORE_CASE = Parameter("ignore_case", "flag", "Whether capitals count as small letters.", True)

LIBRARY: tuple[RewardEntry, ...] = (
    RewardEntry(
        "exact_answer",
        "1 when the result is the one of the row's own answer, else 0; numbers are compared as numbers.",
        (
            _EXTRACT,
            _MARKER,
            _IGNORE_CASE,
            Parameter("tolerance", "number", "How far a number may be off, as a share of it.", 1e-6, at_most=1),
        ),
        needs_answer=True,
    ),
    RewardEntry(
        "contains_answer",
        "1 when the result of the row's own answer stands somewhere in the answer, else 0.",
        (_EXTRACT, _MARKER, _IGNORE_CASE),
        needs_answer=True,
    ),
    RewardEntry(
        "regex",
        "1 when the regular expression is found in the answer, else 0.",
        (
            Parameter("pattern", "pattern", "The regular expression, as Python writes it.", needed=True),
            Parameter("whole", "flag", "Whether it must fit the whole answer.", False),
            Parameter("ignore_case", "flag", "Whether capitals count as small letters.", False),
        ),
    ),
    RewardEntry(
        "json",
        "1 when the answer is valid JSON with all required keys, half a point when only keys or types are wrong.",
        (
            Parameter("keys", "list", "Keys that the object must have."),
            Parameter("schema", "mapping", "A JSON Schema: type, required, properties, items and enum are looked at."),
            Parameter("fenced", "flag", "Whether JSON between ``` marks counts too.", True),
        ),
    ),
    RewardEntry(
        "thinking_format",
        "1 when a thought between <think> and </think> comes first and an answer follows, else 0.",
        (
            Parameter("opening", "text", "How a thought begins.", "<think>"),
            Parameter("closing", "text", "How it ends.", "</think>"),
            Parameter("opened", "flag", "Whether the chat template has begun the thought already.", False),
        ),
    ),
    RewardEntry(
        "answer_length",
        "1 at the wanted length, falling to 0 at none and at twice as much; with at_most, 1 up to it.",
        (
            Parameter("target", "whole", "The wanted length; empty looks at at_most alone.", at_least=1),
            Parameter("at_most", "whole", "The longest length that gets the full point.", 100, at_least=1),
            Parameter("unit", "choice", "What is counted.", "tokens", options=("tokens", "words", "characters")),
        ),
    ),
    RewardEntry(
        "repetition",
        "Takes off up to 1 point: the share of word sequences that came before in the same answer.",
        (Parameter("words", "whole", "Words in such a sequence.", 3, at_least=1, at_most=50),),
        best=0.0,
    ),
    RewardEntry(
        "forbidden_words",
        "Takes off 1 point when one of the words stands in the answer.",
        (Parameter("words", "list", "The words.", needed=True), _IGNORE_CASE),
        best=0.0,
    ),
    RewardEntry(
        "script",
        "The share of the letters that belong to a script, such as latin or han: against a slip into another language.",
        (
            Parameter(
                "script",
                "choice",
                "The script.",
                "latin",
                options=("latin", "cyrillic", "greek", "han", "kana", "hangul", "arabic", "hebrew", "devanagari"),
            ),
        ),
    ),
)

ENTRIES: Mapping[str, RewardEntry] = {entry.name: entry for entry in LIBRARY}


def own_function(name: str) -> tuple[str, str] | None:
    """Path and function of a reward that a user wrote, file.py:function; None for any other name."""
    found = _OWN.fullmatch(name)
    return (found["path"], found["function"]) if found else None


def arguments_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a reward is called with: the given arguments over the library's defaults."""
    entry = ENTRIES.get(name)
    defaults = {parameter.name: parameter.default for parameter in entry.parameters} if entry else {}
    return {**defaults, **given}


def reward_faults(
    rewards: Sequence[str], model: str | None, weights: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Iterator[Fault]:
    """What is wrong with the rewards of a stage; the paths are those of the section `stage`."""
    if not rewards and not model:
        yield Fault("stage.rewards", "no_rewards")
    for place, name in enumerate(rewards):
        if name in rewards[:place]:
            yield Fault("stage.rewards", "reward_twice", name)
        elif name not in ENTRIES and own_function(name) is None:
            yield _unknown("stage.rewards", "reward_unknown", name, ENTRIES)
    yield from _weight_faults([*rewards, REWARD_MODEL] if model else rewards, weights)
    for name, given in arguments.items():
        if name not in rewards:
            yield _unknown("stage.reward_arguments", "reward_not_chosen", name, rewards)
        elif not isinstance(given, dict):
            yield Fault("stage.reward_arguments", "reward_arguments_mapping", given, {"name": name})
    for entry in (ENTRIES[name] for name in dict.fromkeys(rewards) if name in ENTRIES):
        given = arguments.get(entry.name, {})
        if isinstance(given, dict):
            yield from _argument_faults(entry, cast("dict[str, Any]", given))


def _weight_faults(chosen: Sequence[str], weights: Mapping[str, Any]) -> Iterator[Fault]:
    for name, weight in weights.items():
        if name not in chosen:
            yield _unknown("stage.reward_weights", "reward_not_chosen", name, chosen)
        elif not _is_number(weight) or abs(weight) > MOST_WEIGHT:
            yield Fault("stage.reward_weights", "reward_weight", weight, {"name": name})


def _argument_faults(entry: RewardEntry, given: Mapping[str, Any]) -> Iterator[Fault]:
    path, known = "stage.reward_arguments", {parameter.name: parameter for parameter in entry.parameters}
    for key, value in given.items():
        if key not in known:
            yield _unknown(path, "reward_argument_unknown", key, known, name=entry.name)
        elif not known[key].takes(value):
            details = {"name": entry.name, "key": key, "expected": known[key].expected}
            yield Fault(path, "reward_argument", value, details)
    for key, parameter in known.items():
        if parameter.needed and key not in given:
            details = {"name": entry.name, "key": key, "expected": parameter.expected}
            yield Fault(path, "reward_argument_missing", None, details)


def _unknown(path: str, code: str, word: str, known: Mapping[str, Any] | Sequence[str], **details: Any) -> Fault:
    near = difflib.get_close_matches(word, list(known), n=1)
    choices = ", ".join(known) or "-"
    if near:
        return Fault(path, f"{code}_near", word, {"near": near[0], "choices": choices, **details})
    return Fault(path, code, word, {"choices": choices, **details})
