"""Rules across the settings of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from studio.config.evaluate import EvaluateConfig
from studio.config.faults import Fault, hint

Rule = Callable[[EvaluateConfig], Iterator[Fault]]


def somebody_is_asked(config: EvaluateConfig) -> Iterator[Fault]:
    """Without a candidate there is nothing to evaluate."""
    if not config.candidates.base and not config.candidates.runs:
        yield Fault("candidates.runs", "no_candidates")


def something_is_asked(config: EvaluateConfig) -> Iterator[Fault]:
    """An evaluation needs rows or a benchmark."""
    if not config.questions.datasets and not config.benchmarks.tasks:
        yield Fault("questions.datasets", "no_questions")


def something_is_measured(config: EvaluateConfig) -> Iterator[Fault]:
    """Rows without answers and without a loss would give nothing."""
    if config.questions.datasets and not config.decoding.generate and not config.scores.loss:
        yield Fault("scores.loss", "nothing_measured")


def the_pattern_is_one(config: EvaluateConfig) -> Iterator[Fault]:
    """The score regex needs a pattern that can be read."""
    pattern = config.scores.pattern
    if "regex" in config.scores.names and pattern is None:
        yield Fault("scores.pattern", "no_pattern")
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as error:
            yield Fault("scores.pattern", "bad_pattern", pattern, {"reason": str(error)})


def the_judge_has_a_name(config: EvaluateConfig) -> Iterator[Fault]:
    """A judge is a model behind an address, and it compares two answers to the same question."""
    if config.judge.base_url is None:
        return
    if not config.judge.model:
        yield Fault("judge.model", "judge_without_model")
    if not config.decoding.generate or config.candidates.base + len(config.candidates.runs) < 2:
        yield Fault("judge.base_url", "judge_without_pair")


def sampling_has_a_use(config: EvaluateConfig) -> Iterator[Fault]:
    """Temperature and its like do nothing while the most probable token is taken."""
    fields = type(config.decoding).model_fields
    for name in ("temperature", "top_p", "top_k"):
        if not config.decoding.do_sample and getattr(config.decoding, name) != fields[name].default:
            yield hint(f"decoding.{name}", "sampling_unused", key=f"decoding.{name}")


def remote_code_is_meant(config: EvaluateConfig) -> Iterator[Fault]:
    """Running somebody's code is said aloud."""
    if config.model.trust_remote_code:
        yield hint("model.trust_remote_code", "trust_remote_code")


RULES: tuple[Rule, ...] = (
    somebody_is_asked,
    something_is_asked,
    something_is_measured,
    the_pattern_is_one,
    the_judge_has_a_name,
    sampling_has_a_use,
    remote_code_is_meant,
)
