"""One answer in the making: which token comes next, what text it adds, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from tokenizers.decoders import DecodeStream
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

End = Literal["stop", "length", "cancelled", "error"]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; temperature 0 takes the likeliest. `top_logprobs` asks for the likeliest tokens' names."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    special_tokens: bool = False


@dataclass(frozen=True)
class Piece:
    """What one step adds: text (possibly none), and the token's log probability with the likeliest others."""

    text: str = ""
    token: int | None = None
    logprob: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()
    end: End | None = None
    error: str = ""


@dataclass
class Answer:
    """A prompt and what follows it. `tell` hears every piece, in the engine's thread."""

    prompt: Sequence[int]
    adapter: str | None
    sampling: Sampling
    tell: Callable[[Piece], None]
    generated: list[int] = field(default_factory=list[int])
    cancelled: bool = False

    def begin(self, tokenizer: Any, ends: frozenset[int]) -> None:
        """Make ready to draw tokens; `ends` are the ids that end an answer."""
        self._ends, self._backend = ends, tokenizer.backend_tokenizer
        self._words = DecodeStream(skip_special_tokens=not self.sampling.special_tokens)
        self._held = ""
        self._processors = _processors(self.sampling)
        self._random: torch.Generator | None = None

    def draw(self, logits: torch.Tensor) -> Piece:
        """The next token from its logits (a vector of the vocabulary), told and returned."""
        token, logprob, likeliest = self._choose(logits)
        self.generated.append(token)
        if token in self._ends:
            piece = Piece(self._held + (self._step(token) if self.sampling.special_tokens else ""), token, end="stop")
        else:
            piece = self._text(token)
        if piece.end is None and len(self.generated) >= self.sampling.max_tokens:
            piece = Piece(piece.text + self._held, token, end="length")
        piece = Piece(piece.text, token, logprob, likeliest, piece.end)
        self.tell(piece)
        return piece

    def _choose(self, logits: torch.Tensor) -> tuple[int, float | None, tuple[tuple[int, float], ...]]:
        sampling, seen = self.sampling, torch.tensor([[*self.prompt, *self.generated]], device=logits.device)
        scores = self._processors(seen, logits[None].clone())[0]
        if sampling.temperature == 0:
            token = int(scores.argmax())
        else:
            if self._random is None:
                self._random = torch.Generator(device=logits.device)
                if sampling.seed is None:
                    self._random.seed()
                else:
                    self._random.manual_seed(sampling.seed)
            token = int(torch.multinomial(scores.softmax(-1), 1, generator=self._random))
        if sampling.top_logprobs is None:
            return token, None, ()
        # Of the model's own distribution, before temperature and cuts, as other servers give them.
        known = logits.log_softmax(-1)
        values, tokens = known.topk(sampling.top_logprobs) if sampling.top_logprobs else (logits[:0], logits[:0])
        likeliest = tuple((int(one), float(value)) for one, value in zip(tokens, values, strict=True))
        return token, float(known[token]), likeliest

    def _text(self, token: int) -> Piece:
        """The new text, without what may be the beginning of a stop word."""
        text = self._held + self._step(token)
        for stop in self.sampling.stop:
            place = text.find(stop)
            if place >= 0:
                return Piece(text[:place], token, end="stop")
        held = max((_overlap(text, stop) for stop in self.sampling.stop), default=0)
        self._held = text[len(text) - held :]
        return Piece(text[: len(text) - held], token)

    def _step(self, token: int) -> str:
        """The text that a token completes; a letter of several tokens comes with its last one."""
        return self._words.step(self._backend, token) or ""


def _processors(sampling: Sampling) -> LogitsProcessorList:
    found: list[Any] = []
    if sampling.repetition_penalty != 1.0:
        found.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature > 0:
        if sampling.temperature != 1.0:
            found.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            found.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1.0:
            found.append(TopPLogitsWarper(sampling.top_p))
        if sampling.min_p:
            found.append(MinPLogitsWarper(sampling.min_p))
    return LogitsProcessorList(found)


def _overlap(text: str, stop: str) -> int:
    """How many of the last letters of `text` are the first ones of `stop`."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
