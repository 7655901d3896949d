"""Asking until there are rows enough: what is under way, what came of it, and every finished request on the disk."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from studio.config.generate import GenerateConfig, Seeds
from studio.data.generated import FILE, Finished, Generated, WrittenRow, append_line, read_generated
from studio.runs.folder import RunFolder
from studio.tasks.failures import TaskError
from studio.tasks.generating.answers import Unusable, rows_of
from studio.tasks.generating.client import Endpoint, Message, Refused, Reply, Unreachable
from studio.tasks.generating.likeness import Asked
from studio.tasks.generating.requests import Ask

DRAIN_SECONDS = 20.0
"""How long a stop waits for answers that are under way: they are paid for. Less than the time until SIGKILL."""

LOOK_SECONDS = 0.2
MOST_USELESS = 10  # requests in a row without a row, before it is given up
MOST_UNREACHABLE = 3  # requests in a row that failed through all repeats
CHANCES = 2  # of a request that failed through all repeats while others did not
LONGEST_RAW = 20_000  # characters of an answer that could not be used

AGAIN = "That cannot be used: {fault} Answer once more, with the JSON alone and nothing before or behind it."

logger = logging.getLogger(__name__)


@dataclass
class Totals:
    """What the newest attempt knows of the run: everything so far, and what it did itself."""

    generated: Generated
    begun: float = field(default_factory=time.monotonic)
    new_rows: int = 0
    guessed: bool = False  # the endpoint did not say how many tokens there were

    def cost(self, config: GenerateConfig) -> float | None:
        """What it cost so far, in the currency of the prices; None without prices."""
        endpoint = config.endpoint
        if not endpoint.price_in and not endpoint.price_out:
            return None
        read, written = self.generated.total("tokens_in"), self.generated.total("tokens_out")
        return (read * endpoint.price_in + written * endpoint.price_out) / 1e6


class Writing:
    """One attempt of a job. `after` is called behind each finished request, `asked_to_stop` asks for a stop."""

    def __init__(
        self,
        folder: RunFolder,
        config: GenerateConfig,
        endpoint: Endpoint,
        asks: Iterator[Ask],
        asked: Asked,
        after: Callable[[Totals], None],
        asked_to_stop: Callable[[], bool],
    ) -> None:
        self._file = folder.path / FILE
        self._config, self._endpoint, self._asked = config, endpoint, asked
        self._after, self._asked_to_stop = after, asked_to_stop
        self.totals = Totals(read_generated(folder.path))
        for row in self.totals.generated.rows:
            asked.seen(row.question)
        done = {finished.key for finished in self.totals.generated.finished}
        self._asks = (ask for ask in asks if ask.key not in done)
        self._second: deque[Ask] = deque()
        self._unreachable: dict[str, int] = {}
        self._useless = self._unreachable_in_a_row = 0
        self._answered = False

    @property
    def most_requests(self) -> int:
        """Where the job ends with what it has; passages come to an end by themselves."""
        rows = self._config.rows
        if rows.most_requests is not None:
            return rows.most_requests
        endless = isinstance(self._config.source, Seeds)
        return 3 * math.ceil(rows.count / rows.per_request) + 10 if endless else 10**9

    async def run(self) -> bool:
        """Ask until there are rows enough; False when it was stopped. Raises TaskError when there is no going on."""
        under_way: dict[asyncio.Task[Finished], tuple[Ask, int]] = {}
        deadline: float | None = None
        try:
            while True:
                if deadline is None and self._asked_to_stop():
                    deadline = time.monotonic() + DRAIN_SECONDS
                if deadline is None:
                    self._start(under_way)
                if not under_way or (deadline is not None and time.monotonic() > deadline):
                    return deadline is None
                done, _ = await asyncio.wait(under_way, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    self._take(under_way.pop(task)[0], task)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            await self._endpoint.close()

    def _start(self, under_way: dict[asyncio.Task[Finished], tuple[Ask, int]]) -> None:
        """Begin as many requests as may be under way, but none for rows that those under way will bring."""
        rows, generated = self._config.rows, self.totals.generated
        while len(under_way) < self._config.endpoint.concurrency:
            missing = rows.count - len(generated.rows) - sum(count for _, count in under_way.values())
            if missing <= 0 or len(generated.finished) + len(under_way) >= self.most_requests:
                return
            ask = next(self._asks, None) or (self._second.popleft() if self._second else None)
            if ask is None:
                return
            count = min(rows.per_request, missing)
            under_way[asyncio.create_task(self._one(ask, count))] = ask, count

    async def _one(self, ask: Ask, count: int) -> Finished:
        """One request, with a second try where the first answer cannot be used."""
        target = self._config.target
        messages: list[Message] = [{"role": "user", "content": ask.prompt(target, count)}]
        finished = Finished(ask.key, origin=ask.origin, passage=ask.passage)
        for last in (False, True):
            try:
                reply = await self._endpoint.ask(messages)
            except Refused as error:
                return replace(finished, failure=str(error))
            self._answered = True
            finished = self._paid(finished, reply)
            try:
                answer = rows_of(reply.text, target.type)
            except Unusable as fault:
                finished = replace(finished, failure=str(fault), raw=reply.text[:LONGEST_RAW])
                if not last:
                    said = {"role": "assistant", "content": reply.text[:LONGEST_RAW] or "(nothing)"}
                    messages += [said, {"role": "user", "content": AGAIN.format(fault=fault)}]
                continue
            raw = reply.text[:LONGEST_RAW] if answer.broken else ""
            return replace(finished, rows=answer.rows, broken=answer.broken, failure="", raw=raw)
        return finished

    def _paid(self, finished: Finished, reply: Reply) -> Finished:
        self.totals.guessed |= not reply.counted
        return replace(
            finished,
            tokens_in=finished.tokens_in + reply.tokens_in,
            tokens_out=finished.tokens_out + reply.tokens_out,
        )

    def _take(self, ask: Ask, task: asyncio.Task[Finished]) -> None:
        """Keep what a request brought, or find out what its failure means. Raises TaskError."""
        try:
            finished = task.result()
        except Unreachable as error:
            finished = self._failed(ask, str(error))
            if finished is None:
                return
        else:
            self._unreachable_in_a_row = 0
        finished = self._sifted(finished)
        append_line(self._file, finished.line())
        self.totals.generated.add(finished)
        self.totals.new_rows += len(finished.rows)
        self._after(self.totals)
        self._useless = self._useless + 1 if finished.failure else 0
        if finished.failure:
            logger.warning("no row from %s: %s", finished.origin, finished.failure)
        if self._useless >= MOST_USELESS:
            raise TaskError(
                "answers",
                f"{MOST_USELESS} requests in a row brought nothing that can be used. The last one: {finished.failure}",
                "See the raw answers in generated.jsonl. Try another model, a longer endpoint.max_tokens, or say in "
                "target.prompt more plainly which JSON is wanted. Then start a new run.",
            )

    def _failed(self, ask: Ask, reason: str) -> Finished | None:
        """None for a request that stays open; raises TaskError when the endpoint seems to be gone."""
        if self._asked_to_stop():
            return None
        self._unreachable_in_a_row += 1
        if not self._answered or self._unreachable_in_a_row >= MOST_UNREACHABLE:
            raise TaskError(
                "endpoint",
                f"The endpoint does not answer: {reason}",
                "Check that it runs and that endpoint.base_url is right, then resume the run: finished requests are "
                "not asked again.",
            )
        tries = self._unreachable[ask.key] = self._unreachable.get(ask.key, 0) + 1
        if tries >= CHANCES:
            return Finished(ask.key, failure=reason, origin=ask.origin, passage=ask.passage)
        self._second.append(ask)
        return None

    def _sifted(self, finished: Finished) -> Finished:
        """Without rows that were there before in nearly the same words, and without those beyond the number wanted."""
        kept, alike, surplus = list[WrittenRow](), 0, 0
        for row in finished.rows:
            if len(self.totals.generated.rows) + len(kept) >= self._config.rows.count:
                surplus += 1
            elif self._asked.seen(row.question):
                alike += 1
            else:
                kept.append(row)
        return replace(finished, rows=tuple(kept), alike=alike, surplus=surplus, time=time.time())
