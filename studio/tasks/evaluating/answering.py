"""Answers of a model to many prompts, written side by side: longest prompts first, and whoever is done makes room.

A lean loop in the place of transformers' generate: no row waits for the slowest of its batch, nothing is copied to add
a token, and the prompt is padded to its neighbours alone. In float32 an answer is the same whatever the batch, unless
two tokens are equally probable to the last bit.
"""

from __future__ import annotations

import inspect
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from studio.tasks.evaluating.choosing import Choosing, choose
from studio.tasks.evaluating.window import Window
from studio.tasks.failures import TaskError
from studio.tasks.soft_prompt import SoftPrompt

PROMPT_TOKENS_AT_ONCE = {"cpu": 2048, "cuda": 16384}


@dataclass(frozen=True)
class Request:
    """A prompt to be answered by at most `most` tokens. `key` is the asker's own; `seed` begins the row's own chance,
    so that its answer depends neither on the batch nor on the rows before it."""

    key: int
    ids: Sequence[int]
    most: int
    seed: str = ""


@dataclass(frozen=True)
class Answer:
    """What was written, without the token that ended it. `seconds` is the row's share of the machine's time."""

    key: int
    ids: list[int]
    ended: bool
    seconds: float


@dataclass
class Row:
    """An answer while it is written."""

    request: Request
    ids: list[int] = field(default_factory=list[int])
    seconds: float = 0.0
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.request.seed)


@dataclass(frozen=True)
class Voice:
    """A model together with what is needed to let it speak: the tokens that end an answer, padding, and the soft prompt
    that stands in front of every input, if there is one."""

    model: Any
    ends: frozenset[int]
    pad: int
    choosing: Choosing
    front: SoftPrompt | None = None

    @property
    def places(self) -> int:
        """How many places of the context the soft prompt takes."""
        return self.front.places if self.front else 0


def answers(
    voice: Voice, requests: Iterable[Request], size: int, notice: Callable[[str], None], go_on: Callable[[], bool]
) -> Iterator[Answer]:
    """Answers in the order in which they are done; ends early when `go_on` says no.

    At most `size` rows at a time; when memory runs out, half of them. Raises TaskError when one row is too much.
    """
    waiting = _longest_first(requests)
    if voice.front and not rolls(voice.model):
        raise TaskError(
            "candidates",
            "This model keeps a state of its own kind, in front of which a soft prompt cannot be put here.",
            "Take the prompt, prefix or P-tuning run out of candidates.runs.",
        )
    while waiting and go_on():
        batch = Batch(voice, size) if rolls(voice.model) else WholeBatch(voice, size)
        try:
            while (waiting or batch.rows) and go_on():
                yield from batch.step(waiting)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_memory(error):
                raise
            waiting = _longest_first([*(row.request for row in batch.rows), *waiting])
            size = max(len(batch.rows), 1) // 2
            if not size:
                raise out_of_memory("answer") from error
            notice(f"Memory ran out, so {size} answers are written at a time from here on.")
        del batch
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _longest_first(requests: Iterable[Request]) -> deque[Request]:
    return deque(sorted(requests, key=lambda request: len(request.ids), reverse=True))


def rolls(model: Any) -> bool:
    """Whether rows can come and go one by one: each layer keeps keys and values of every token, and nothing else."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    plain = kinds <= {"full_attention", "sliding_attention"} and not getattr(model, "_is_stateful", False)
    return plain and not getattr(config, "num_kv_shared_layers", 0)


class Batch:
    """Rows that are answered side by side and leave one by one."""

    def __init__(self, voice: Voice, size: int) -> None:
        self.voice = voice
        self.rows: list[Row] = []
        self._window = Window(size)
        self._device = voice.model.device
        base = getattr(voice.model, "get_base_model", lambda: voice.model)()
        self._last_only = (
            {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(base.forward).parameters else {}
        )

    @torch.inference_mode()
    def step(self, waiting: deque[Request]) -> list[Answer]:
        """Let rows in where there is room, then one more token for each; gives the rows that are done."""
        done: list[Answer] = []
        while waiting and self._window.fits(self.voice.places + len(waiting[0].ids)):
            done += self._enter(self._next_group(waiting))
        if self.rows:
            done += self._write()
        return done

    def _next_group(self, waiting: deque[Request]) -> list[Request]:
        """Prompts that go through the model together: as many as there is room for, within a bound of tokens."""
        most, room = PROMPT_TOKENS_AT_ONCE[self._device.type], self._window.slots - self._window.rows
        if self.voice.front:  # rows of different lengths would need gaps behind it
            return [waiting.popleft()]
        count = max(1, min(room, most // len(waiting[0].ids), len(waiting)))
        return [waiting.popleft() for _ in range(count)]

    def _enter(self, group: list[Request]) -> list[Answer]:
        start = time.perf_counter()
        rows = [Row(request) for request in group]
        self.rows += rows  # before the work: whoever runs out of memory finds them here
        lengths = [self.voice.places + len(request.ids) for request in group]
        ids, mask = padded([request.ids for request in group], self.voice.pad, self._device)
        output, cache = self._read(ids, mask)
        self._window.add(cache, lengths)
        self._take(rows, output.logits[:, -1], start)
        return self._leave()

    def _read(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[Any, DynamicCache]:
        """Prompts through the model: what it gives, and its cache."""
        if self.voice.front:
            return self.voice.front.forward(self.voice.model, ids, **self._last_only)
        cache = DynamicCache()
        positions = (mask.cumsum(dim=-1) - 1).clamp_min(0)
        output = self.voice.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            **self._last_only,
        )
        return output, cache

    def _write(self) -> list[Answer]:
        start = time.perf_counter()
        window = self._window
        window.make_room()
        last = torch.tensor([[row.ids[-1]] for row in self.rows], device=self._device)
        logits = self.voice.model(
            input_ids=last,
            attention_mask=window.mask(self._device),
            position_ids=window.positions(self._device),
            past_key_values=window,
            use_cache=True,
            **self._last_only,
        ).logits[:, -1]
        window.advance()
        self._take(self.rows, logits, start)
        return self._leave()

    def _take(self, rows: list[Row], logits: torch.Tensor, start: float) -> None:
        histories = (
            [[*row.request.ids, *row.ids] for row in rows] if self.voice.choosing.repetition_penalty != 1 else []
        )
        tokens = choose(logits, histories, [row.chance for row in rows], self.voice.choosing)
        share = (time.perf_counter() - start) / len(rows)
        for row, token in zip(rows, tokens, strict=True):
            row.ids.append(token)
            row.seconds += share

    def _leave(self) -> list[Answer]:
        done: list[Answer] = []
        for place in reversed(range(len(self.rows))):
            row = self.rows[place]
            ended = row.ids[-1] in self.voice.ends
            if ended or len(row.ids) >= row.request.most:
                done.append(Answer(row.request.key, row.ids[:-1] if ended else row.ids, ended, row.seconds))
                self._window.remove(place)
                self.rows[place] = self.rows[-1]
                self.rows.pop()
        return done


class WholeBatch:
    """The same through transformers' generate, a whole batch at a time: for models that keep a state of other kind."""

    def __init__(self, voice: Voice, size: int) -> None:
        self.voice = voice
        self.size = size
        self.rows: list[Row] = []

    @torch.inference_mode()
    def step(self, waiting: deque[Request]) -> list[Answer]:
        """Answer the next rows from beginning to end."""
        start = time.perf_counter()
        self.rows = [Row(waiting.popleft()) for _ in range(min(self.size, len(waiting)))]
        requests = [row.request for row in self.rows]
        ids, mask = padded([request.ids for request in requests], self.voice.pad, self.voice.model.device)
        tokens = self.voice.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max(request.most for request in requests),
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=sorted(self.voice.ends),
            pad_token_id=self.voice.pad,
            logits_processor=[self._choose_by(self.rows)],
        )
        share = (time.perf_counter() - start) / len(requests)
        self.rows = []
        return [self._answer(*pair, share) for pair in zip(requests, tokens[:, ids.shape[1] :].tolist(), strict=True)]

    def _choose_by(self, rows: list[Row]) -> Callable[..., torch.Tensor]:
        """A processor of logits that leaves one token, so that generate has no choice but ours."""
        lengths, chances = [len(row.request.ids) for row in rows], [row.chance for row in rows]
        longest = max(lengths)

        def only(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            histories = [row[longest - own :] for row, own in zip(input_ids.tolist(), lengths, strict=True)]
            chosen = torch.tensor(choose(scores, histories, chances, self.voice.choosing), device=scores.device)
            return torch.full_like(scores, float("-inf")).scatter(1, chosen[:, None], 0.0)

        return only

    def _answer(self, request: Request, ids: list[int], seconds: float) -> Answer:
        ids = ids[: request.most]
        end = next((place for place, token in enumerate(ids) if token in self.voice.ends), None)
        return Answer(request.key, ids if end is None else ids[:end], end is not None, seconds)


def padded(rows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids padded on the left and the mask of what is no padding, both of shape (rows, longest)."""
    longest = max(len(row) for row in rows)
    ids = [[pad] * (longest - len(row)) + list(row) for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def is_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the GPU or of the machine."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "DefaultCPUAllocator" in str(error) or "can't allocate memory" in str(error)


def out_of_memory(work: str) -> TaskError:
    """The failure of a batch of one row; `work` is what could not be done."""
    return TaskError(
        "memory",
        f"The memory does not suffice to {work} a single row.",
        "Lower questions.context or decoding.max_new_tokens, load the model in 4 bits (quantization.type=4bit), or "
        "choose a smaller model.",
    )
