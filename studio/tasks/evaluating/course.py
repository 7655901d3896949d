"""The course of an evaluation: who has answered what already, what is left to do, and how long that will take."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from studio.config.evaluate import EvaluateConfig
from studio.runs.evaluation_results import LOSSES, PREDICTIONS
from studio.runs.folder import RunFolder
from studio.runs.metrics import append_row, open_rows
from studio.tasks.ends import end_tokens
from studio.tasks.evaluating.answering import Answer, Request, Voice, answers
from studio.tasks.evaluating.batch_size import rows_at_once
from studio.tasks.evaluating.candidates import Candidate, Seat
from studio.tasks.evaluating.choosing import Choosing
from studio.tasks.evaluating.ledger import Ledger
from studio.tasks.evaluating.losses import losses
from studio.tasks.evaluating.questions import Prepared, Question, context_of, fitting, prepare
from studio.tasks.failures import TaskError
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag
from studio.tasks.templates import choose_template

SECONDS_BETWEEN_LOOKS = 0.5

logger = logging.getLogger(__name__)


@dataclass
class Course:
    """One evaluation over all candidates."""

    folder: RunFolder
    config: EvaluateConfig
    reporter: Reporter
    stop: StopFlag
    questions: Sequence[Question]
    candidates: Sequence[Candidate]

    def __post_init__(self) -> None:
        path = self.folder.path
        self.predictions, self.losses = Ledger(path / PREDICTIONS), Ledger(path / LOSSES)
        self._looked, self._asked_to_stop = 0.0, False
        self._started, self._reported = time.monotonic(), 0.0
        self._done, self._done_now = 0, 0
        self._prepared: dict[tuple[Any, str, int], list[Prepared]] = {}
        self._total = 0
        self._metrics = open_rows(self.folder.metrics_file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self.predictions, self.losses, self._metrics):
            file.close()

    def go_on(self) -> bool:
        """Whether nobody has asked to stop."""
        now = time.monotonic()
        if now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
            self._asked_to_stop = self.stop.requested or self.folder.request().action == "stop"
        return not self._asked_to_stop

    def ask(self, seat: Seat) -> None:
        """Let one candidate answer all questions that it has not answered yet, and measure its losses."""
        if not self.questions:
            return
        name = seat.candidate.name
        self.reporter.phase("tokenizing", name)
        template = self._template(seat)
        rows = self._fitting(seat, template)
        self._total = self._total or len(rows) * len(self.candidates) * self._passes()
        if self.config.decoding.generate:
            self.reporter.phase("evaluating", f"{name}: answers")
            self._answer(seat, rows, template)
        if self.config.scores.loss:
            self.reporter.phase("evaluating", f"{name}: loss")
            self._measure(seat, rows)

    def _passes(self) -> int:
        return self.config.decoding.generate + self.config.scores.loss

    def _template(self, seat: Seat) -> Callable[[], str]:
        """The template that the config names, else the one that the candidate was trained with, else the base's own."""
        wanted, own = self.config.model.chat_template, seat.candidate.template()
        if wanted == "auto" and not own and not seat.tokenizer.chat_template:
            # A base that never saw a conversation is asked in the form that those trained on it were asked in.
            own = next((text for one in self.candidates if (text := one.template())), "")
        return lambda: own if wanted == "auto" and own else choose_template(wanted, seat.tokenizer)

    def _fitting(self, seat: Seat, template: Callable[[], str]) -> list[Prepared]:
        """The rows in this candidate's tokens; those with the same tokenizer and template share them."""
        key = (seat.tokenizer, seat.candidate.template(), seat.places)
        if key not in self._prepared:
            total = len(self.questions)
            rows = prepare(self.questions, seat.tokenizer, template, lambda n: self.reporter.progress(n, total))
            context = self._context(seat)
            kept = fitting(rows, context)
            if len(kept) < len(rows):
                self.reporter.notice(
                    f"{len(rows) - len(kept)} of {len(rows)} rows are longer than {context} tokens with their "
                    f"reference and are left out, among them {_first_missing(rows, kept)}."
                )
            if not kept:
                raise TaskError(
                    "data", f"No row fits into {context} tokens.", "Raise questions.context, or choose shorter rows."
                )
            self._prepared[key] = kept
        return self._prepared[key]

    def _context(self, seat: Seat) -> int:
        """Tokens of a row with its answer; a soft prompt takes some of the model's places."""
        return context_of(seat.model, self.config.questions.context) - seat.places

    def _answer(self, seat: Seat, rows: Sequence[Prepared], template: Callable[[], str]) -> None:
        name, most = seat.candidate.name, self.config.decoding.max_new_tokens
        context = self._context(seat)
        todo = [row for row in rows if row.question.asks and not self._has(self.predictions, name, row)]
        self._report(done=len(rows) - len(todo))
        if not todo:
            return
        decoding = self.config.decoding
        requests = [
            Request(number, row.prompt, min(most, context - len(row.prompt)), _seed_of(row.question, decoding.seed))
            for number, row in enumerate(todo)
        ]
        choosing = Choosing(
            decoding.do_sample, decoding.temperature, decoding.top_p, decoding.top_k, decoding.repetition_penalty
        )
        ends = end_tokens(seat.model, seat.tokenizer, template())
        voice = Voice(seat.model, ends, seat.tokenizer.pad_token_id, choosing, seat.front)
        size = decoding.batch_size or rows_at_once(seat.model, requests, seat.places)
        logger.info("%s: %d rows, up to %d at a time", name, len(todo), size)
        for answer in answers(voice, requests, size, self.reporter.notice, self.go_on):
            self.predictions.write(_prediction(name, todo[answer.key], answer, seat.tokenizer))
            self._report(tokens=len(answer.ids))

    def _measure(self, seat: Seat, rows: Sequence[Prepared]) -> None:
        name = seat.candidate.name
        todo = [row for row in rows if not self._has(self.losses, name, row)]
        self._report(done=len(rows) - len(todo))
        pad, notice = seat.tokenizer.pad_token_id, self.reporter.notice
        for loss in losses(seat.model, todo, pad, notice, self.go_on, seat.front):
            place = {"dataset": loss.row.question.dataset, "row": loss.row.question.row}
            self.losses.write({"candidate": name, **place, "loss": loss.total, "tokens": loss.tokens})
            self._report(tokens=loss.tokens)

    def _has(self, ledger: Ledger, name: str, row: Prepared) -> bool:
        return (name, row.question.dataset, row.question.row) in ledger.done

    def _report(self, tokens: int | None = None, done: int = 1) -> None:
        """Count `done` rows; those of now, which have `tokens`, tell how long the rest will take."""
        self._done = min(self._done + done, self._total)
        if tokens is None:
            self.reporter.progress(self._done, self._total)
            return
        self._done_now += done
        seconds = time.monotonic() - self._started
        self.reporter.progress(self._done, self._total, (self._total - self._done) * seconds / self._done_now)
        if seconds - self._reported >= 1:
            self._reported = seconds
            pace = self._done_now / seconds
            append_row(self._metrics, {"step": self._done, "time": time.time(), "rows_per_second": pace})


def _prediction(name: str, row: Prepared, answer: Answer, tokenizer: Any) -> dict[str, Any]:
    question = row.question
    return {
        "candidate": name,
        "dataset": question.dataset,
        "row": question.row,
        "place": question.example.where,
        "prompt": question.prompt,
        "reference": question.reference,
        "answer": tokenizer.decode(answer.ids, skip_special_tokens=True),
        "tokens": len(answer.ids),
        "prompt_tokens": len(row.prompt),
        "seconds": round(answer.seconds, 4),
        "ended": answer.ended,
    }


def _seed_of(question: Question, seed: int) -> str:
    return f"{seed}/{question.dataset}/{question.row}"


def _first_missing(rows: Sequence[Prepared], kept: Sequence[Prepared]) -> str:
    known = {id(row) for row in kept}
    return next(row.question.example.where for row in rows if id(row) not in known)
