"""A language model as judge: which of two answers is better, asked in both orders, so that no place is favoured."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.config.evaluate import EvaluateConfig, JudgeConfig
from studio.config.generate import EndpointConfig
from studio.runs.evaluation_results import JUDGEMENTS, Prediction, predictions
from studio.tasks.evaluating.ledger import Ledger
from studio.tasks.failures import TaskError
from studio.tasks.generate import read_key
from studio.tasks.generating.client import Endpoint, Refused, Unreachable
from studio.tasks.status import Reporter

KEYS = ("first", "second", "dataset", "row", "turned")
LONGEST_VERDICT = 1024  # tokens
REPEATS = 5  # of a request that the endpoint is too busy for

PROMPT = """Two assistants answered the same request. Judge which answer is better. What counts: {criteria}.
Neither the order of the answers nor their length is a reason of its own.

<request>
{prompt}
</request>

<reference>
{reference}
</reference>

<answer_a>
{a}
</answer_a>

<answer_b>
{b}
</answer_b>

Explain your judgement in one or two sentences. Then end with a line that says exactly one of:
Better: A
Better: B
Better: tie"""

_VERDICT = re.compile(r"better\W+(?:answer\W+)?(a|b|tie)\b", re.IGNORECASE)

Winner = Literal["first", "second", "tie", ""]


@dataclass(frozen=True)
class Pair:
    """Two answers to one row. `turned`: the second stands first in the question to the judge."""

    first: Prediction
    second: Prediction
    turned: bool

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells this judgement from others, as KEYS names it."""
        one = self.first
        return one.candidate, self.second.candidate, one.dataset, one.row, self.turned

    def question(self, criteria: str) -> str:
        """What the judge is asked."""
        a, b = (self.second, self.first) if self.turned else (self.first, self.second)
        known = {"prompt": self.first.prompt, "reference": self.first.reference, "a": a.answer, "b": b.answer}
        return PROMPT.format(criteria=criteria, **known)


def judge(
    config: EvaluateConfig, candidates: Sequence[str], folder: Path, reporter: Reporter, go_on: Callable[[], bool]
) -> None:
    """Let the judge compare each later candidate with the first one; what judgements.jsonl holds is not asked again.

    Raises TaskError for an endpoint that is down or refuses all.
    """
    ledger = Ledger(folder / JUDGEMENTS, KEYS)
    pairs = list(pairs_of(predictions(folder)[0], candidates, config.judge.max_rows))
    waiting = [pair for pair in pairs if pair.key not in ledger.done]
    try:
        asyncio.run(_ask_all(config.judge, waiting, ledger, reporter, go_on, len(pairs)))
    except TaskError as error:
        advice = error.failure.advice.replace("endpoint.", "judge.")
        raise TaskError("endpoint", f"The judge cannot be asked. {error.failure.cause}", advice) from error
    finally:
        ledger.close()


def pairs_of(answers: Sequence[Prediction], candidates: Sequence[str], max_rows: int | None) -> Iterator[Pair]:
    """Both orders of each later candidate against the first one, for the first `max_rows` rows that both answered."""
    by_candidate = {name: {(a.dataset, a.row): a for a in answers if a.candidate == name} for name in candidates}
    base = by_candidate[candidates[0]]
    for name in candidates[1:]:
        places = sorted(base.keys() & by_candidate[name].keys())[:max_rows]
        for place in places:
            for turned in (False, True):
                yield Pair(by_candidate[name][place], base[place], turned)


def read_verdict(text: str, turned: bool) -> Winner:
    """Who won by the judge's last word, "" when it cannot be read."""
    found = _VERDICT.findall(text)
    if not found:
        return ""
    word = found[-1].lower()
    if word == "tie":
        return "tie"
    return "first" if (word == "a") != turned else "second"


async def _ask_all(
    config: JudgeConfig,
    waiting: Sequence[Pair],
    ledger: Ledger,
    reporter: Reporter,
    go_on: Callable[[], bool],
    total: int,
) -> None:
    settings = EndpointConfig(
        base_url=config.base_url or "",
        model=config.model,
        key_variable=config.key_variable,
        temperature=0.0,
        max_tokens=LONGEST_VERDICT,
        concurrency=config.concurrency,
        retries=REPEATS,
    )

    def tell(text: str) -> None:
        reporter.progress(len(ledger.done), total, message=text)

    endpoint = Endpoint(settings, read_key(settings), tell, lambda: not go_on())
    queue = iter(waiting)

    async def work() -> None:
        for pair in queue:  # shared: each worker takes the next one
            if not go_on():
                return
            try:
                reply = await _ask(endpoint, pair, config.criteria)
            except Unreachable as error:
                if not go_on():
                    return
                advice = "Start it or correct judge.base_url, then resume the run."
                raise TaskError("endpoint", str(error), advice) from None
            row = dict(zip(KEYS, pair.key, strict=True))
            ledger.write({**row, "winner": read_verdict(reply, pair.turned), "text": reply})
            reporter.progress(len(ledger.done), total)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(config.concurrency):
                group.create_task(work())
    except* TaskError as errors:
        raise errors.exceptions[0] from None
    finally:
        await endpoint.close()


async def _ask(endpoint: Endpoint, pair: Pair, criteria: str) -> str:
    try:
        return (await endpoint.ask([{"role": "user", "content": pair.question(criteria)}])).text
    except Refused as error:
        return f"(refused: {error})"
