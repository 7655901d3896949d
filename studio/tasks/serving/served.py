"""The model that is served, with its names: prompts from conversations, answers as streams of pieces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from studio.data.examples import DataError, Message
from studio.tasks.serving.answer import Answer, Piece, Sampling
from studio.tasks.serving.engine import Engine
from studio.tasks.serving.questions import SamplingBody
from studio.tasks.spans import Conversation

DEFAULT_MOST = 1024  # tokens of an answer when the client names no limit


class BadQuestion(ValueError):
    """A question that cannot be answered as it is; `status` is HTTP's."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Served:
    """What is served: `names` maps what clients call a model to its adapter, None for the base itself."""

    engine: Engine
    tokenizer: Any
    template: str
    names: Mapping[str, str | None]
    context: int

    def adapter(self, name: str) -> str | None:
        """The adapter behind a name; no name means the first. Raises BadQuestion (404)."""
        if not name:
            return next(iter(self.names.values()))
        if name not in self.names:
            raise BadQuestion(f"There is no model {name!r} here. There are: {', '.join(self.names)}.", 404)
        return self.names[name]

    def prompt_text(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> str:
        """A conversation as the model sees it, up to where its answer begins. Raises BadQuestion."""
        try:
            offered = json.dumps(tools, ensure_ascii=False) if tools else ""
            return Conversation(messages, self.tokenizer, self.template, offered).asking(len(messages))
        except DataError as error:
            raise BadQuestion(f"The conversation cannot be put to this model: {error}") from None

    def ids(self, text: str, *, rendered: bool) -> list[int]:
        """Token ids; `rendered` text brings its special tokens itself. Raises BadQuestion when nothing is left room."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=not rendered)["input_ids"]
        if not ids:
            raise BadQuestion("The prompt is empty.")
        if len(ids) >= self.context:
            raise BadQuestion(
                f"The question has {len(ids):,} tokens, and this model takes {self.context:,} together with its "
                "answer. Shorten the conversation, or begin a new one."
            )
        return ids

    def sampling(self, body: SamplingBody, ids: Sequence[int], top_logprobs: int | None, index: int) -> Sampling:
        """How the answer `index` (of body.n) is drawn, within what the context leaves. Each has a seed of its own."""
        room = self.context - len(ids)
        wanted = body.max_completion_tokens or body.max_tokens or DEFAULT_MOST
        stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
        return Sampling(
            max_tokens=min(wanted, room),
            temperature=body.temperature,
            top_p=body.top_p,
            top_k=body.top_k,
            min_p=body.min_p,
            repetition_penalty=body.repetition_penalty,
            seed=None if body.seed is None else (body.seed + index) % 2**63,
            stop=tuple(word for word in stop if word),
            top_logprobs=top_logprobs,
            special_tokens=body.special_tokens,
        )

    @asynccontextmanager
    async def answers(
        self, ids: Sequence[int], adapter: str | None, samplings: Sequence[Sampling]
    ) -> AsyncGenerator[AsyncIterator[tuple[int, Piece]]]:
        """The pieces of one answer for each sampling, with its index, as they come. Leaving breaks off what is left."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[tuple[int, Piece]]()

        def hear(index: int, piece: Piece) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, (index, piece))

        made = [
            Answer(ids, adapter, sampling, lambda piece, index=index: hear(index, piece))
            for index, sampling in enumerate(samplings)
        ]

        async def stream() -> AsyncIterator[tuple[int, Piece]]:
            left = len(made)
            while left:
                index, piece = await pieces.get()
                left -= piece.end is not None
                yield index, piece

        try:
            for answer in made:
                self.engine.submit(answer)
            yield stream()
        finally:
            for answer in made:
                answer.cancelled = True
