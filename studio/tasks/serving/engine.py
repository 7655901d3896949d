"""The thread that decodes: answers join as places become free, and every adapter in use gets its token in turn."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping
from typing import Any

import torch

from studio.tasks.serving.answer import Answer, Piece
from studio.tasks.serving.rows import Rows
from studio.tasks.soft_prompt import SoftPrompt

logger = logging.getLogger(__name__)

WAIT_SECONDS = 0.2  # how long an idle engine waits before it looks whether it shall end


class Engine:
    """Decodes answers of one base model with any of its adapters.

    Adapters go by the names that peft knows, soft prompts by theirs in `fronts`; None means the base. Answers of one
    adapter are decoded as one batch; the batches take turns token by token, so that none waits for another's end. At
    most `places` answers are decoded at once, the others wait in the order in which they came.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        ends: frozenset[int],
        places: int,
        fronts: Mapping[str, SoftPrompt] | None = None,
    ) -> None:
        self._model, self._tokenizer, self._ends, self._places = model, tokenizer, ends, places
        self._fronts: Mapping[str | None, SoftPrompt] = {**(fronts or {})}
        self._waiting: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._groups: dict[str | None, tuple[Rows, list[Answer], list[int]]] = {}
        self._active: str | None = ""  # no adapter's name: the first switch always happens
        self._ending = threading.Event()
        self._busy = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)

    def start(self) -> None:
        """Begin to decode."""
        self._thread.start()

    def close(self) -> None:
        """End, and break off every answer that is still in the making."""
        self._ending.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether it still decodes."""
        return self._thread.is_alive()

    def submit(self, answer: Answer) -> None:
        """Queue an answer; its `tell` hears the pieces."""
        self._waiting.put(answer)

    @property
    def load(self) -> Mapping[str, int]:
        """Answers being decoded and waiting."""
        decoding = sum(len(answers) for _, answers, _ in self._groups.values())
        return {"decoding": decoding, "waiting": self._waiting.qsize()}

    @torch.inference_mode()
    def next_logits(self, ids: list[int], adapter: str | None) -> torch.Tensor:
        """The logits behind a prompt, a vector of the vocabulary; waits for the token that is being decoded."""
        with self._busy:
            self._switch(adapter)
            return self._rows(adapter).join(ids)

    @torch.inference_mode()
    def _run(self) -> None:
        while not self._ending.is_set():
            self._admit()
            for adapter in list(self._groups):
                with self._busy:
                    self._advance(adapter)
        for _, answers, _ in self._groups.values():
            for answer in answers:
                answer.tell(Piece(end="cancelled"))

    def _admit(self) -> None:
        """Take in waiting answers while there is room; an idle engine waits here."""
        while self.load["decoding"] < self._places:
            try:
                answer = self._waiting.get(timeout=0 if self._groups else WAIT_SECONDS)
            except queue.Empty:
                return
            if answer.cancelled:
                answer.tell(Piece(end="cancelled"))
                continue
            with self._busy:
                self._begin(answer)

    def _begin(self, answer: Answer) -> None:
        rows, answers, tokens = self._groups.get(answer.adapter) or (self._rows(answer.adapter), [], [])
        try:
            self._switch(answer.adapter)
            answer.begin(self._tokenizer, self._ends)
            logits = rows.join(answer.prompt)
            self._groups[answer.adapter] = (rows, [*answers, answer], [*tokens, 0])
            self._tell(answer.adapter, {len(answers): logits})
        except (RuntimeError, ValueError) as error:
            self._refuse(answer, error)

    def _advance(self, adapter: str | None) -> None:
        """One token for every answer of one adapter."""
        rows, answers, tokens = self._groups[adapter]
        try:
            self._switch(adapter)
            logits = rows.step(tokens)
        except RuntimeError as error:
            del self._groups[adapter]
            for answer in answers:
                self._refuse(answer, error)
            return
        self._tell(adapter, dict(enumerate(logits)))

    def _tell(self, adapter: str | None, logits: Mapping[int, torch.Tensor]) -> None:
        """Draw a token from each of the logits, by row; then let go those that are over."""
        rows, answers, tokens = self._groups[adapter]
        over: set[int] = set()
        for row, own in logits.items():
            answer = answers[row]
            if answer.cancelled:
                answer.tell(Piece(end="cancelled"))
                over.add(row)
                continue
            try:
                piece = answer.draw(own)
            except (RuntimeError, ValueError, IndexError) as error:
                self._refuse(answer, error)
                over.add(row)
                continue
            tokens[row] = answer.generated[-1]
            if piece.end is not None:
                over.add(row)
        if over:
            left = [row for row in range(len(answers)) if row not in over]
            rows.keep(left)
            self._groups[adapter] = (rows, [answers[row] for row in left], [tokens[row] for row in left])
            if not left:
                del self._groups[adapter]

    def _rows(self, adapter: str | None) -> Rows:
        return Rows(self._model, self._fronts.get(adapter))

    def _switch(self, adapter: str | None) -> None:
        """Make one adapter the active one; the base is all of them switched off, also behind a soft prompt."""
        adapter = None if adapter in self._fronts else adapter
        if not hasattr(self._model, "peft_config") or adapter == self._active:
            return
        if adapter is None:
            self._model.base_model.disable_adapter_layers()
        else:
            self._model.base_model.enable_adapter_layers()
            self._model.set_adapter(adapter, inference_mode=True)
        self._active = adapter

    def _refuse(self, answer: Answer, error: Exception) -> None:
        logger.warning("an answer was broken off: %s", error)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        answer.tell(Piece(end="error", error=" ".join(str(error).split())[:300]))
