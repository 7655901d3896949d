"""What happens at each step beside the training: metrics, status, and the requests to stop or to save.

The cost counts: a step of a small model takes milliseconds, so nothing here opens a file that has not changed.
"""

from __future__ import annotations

import logging
import math
import resource
import time
from typing import Any, TextIO

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from studio.runs.folder import RunFolder
from studio.runs.metrics import append_row, open_rows
from studio.tasks.peak import peak_bytes
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag
from studio.tasks.trainer import Meter

logger = logging.getLogger(__name__)


class Requests:
    """The newest request in the run's folder, read only when the file has changed."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._seen_ns = 0
        self._serial = 0

    def new(self) -> str:
        """The action of a request that was not seen before, else ""."""
        try:
            changed = self._folder.request_file.stat().st_mtime_ns
        except FileNotFoundError:
            return ""
        if changed == self._seen_ns:
            return ""
        self._seen_ns = changed
        request = self._folder.request()
        if request.serial <= self._serial:
            return ""
        self._serial = request.serial
        return request.action


class Recorder(TrainerCallback):
    """Writes metrics.jsonl and the training's status, and turns requests into the trainer's own controls."""

    def __init__(self, folder: RunFolder, reporter: Reporter, stop: StopFlag, meter: Meter) -> None:
        self._folder, self._reporter, self._stop, self._meter = folder, reporter, stop, meter
        self._requests = Requests(folder)
        self._begun, self._first_step = 0.0, 0
        self._step_begun, self._busy = 0.0, 0.0
        self._free_since, self._waited = 0.0, 0.0
        self._tokens, self._places = 0.0, 0
        self._rows: TextIO | None = None
        self._odd: set[str] = set()
        self.stopped = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # A resumed state brings the intervals of the run that wrote it; the config of today decides.
        state.compute_steps(args, state.max_steps)
        self._begun, self._first_step = time.monotonic(), state.global_step
        if state.is_world_process_zero:
            self._rows = open_rows(self._folder.metrics_file)
            if state.global_step:
                self._event("resumed", state.global_step)
            self._reporter.phase("training")
            self._reporter.progress(state.global_step, state.max_steps)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._step_begun = time.perf_counter()
        self._waited += self._step_begun - self._free_since if self._free_since else 0.0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._free_since = time.perf_counter()
        self._busy += self._free_since - self._step_begun
        stop, save = self._asked(args)
        if stop and state.global_step < state.max_steps:
            self.stopped = True
            control.should_training_stop = True
        if control.should_training_stop:
            # The last step is always logged and can always be gone on from.
            control.should_log = control.should_save = True
        control.should_save = control.should_save or save
        if state.is_world_process_zero:
            self._reporter.progress(state.global_step, state.max_steps, self._seconds_left(state))

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._free_since = 0.0  # the time since the step was no waiting
        # Runs behind the early stopping, which decides here.
        control.should_save = control.should_save or control.should_training_stop

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self._rows is None or not logs:
            return
        row = {"step": state.global_step, "time": round(time.time(), 3), **logs}
        if "loss" in logs:
            row |= self._speed(logs.get("num_tokens"))
        row |= memory_peaks()
        append_row(self._rows, row)
        logger.info(" ".join(f"{key}={_short(value)}" for key, value in row.items() if key != "time"))
        for key, value in logs.items():
            if isinstance(value, float) and not math.isfinite(value) and key not in self._odd:
                # The row itself is the event; the notice comes once a key, or a broken run would fill the page.
                self._odd.add(key)
                self._reporter.notice(f"{key} became {value} at step {state.global_step}.")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._free_since = 0.0
        self._event("checkpoint", state.global_step, name=f"checkpoint-{state.global_step}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def _event(self, event: str, step: int, **details: Any) -> None:
        if self._rows is not None:
            append_row(self._rows, {"event": event, "step": step, "time": round(time.time(), 3), **details})

    def _asked(self, args: TrainingArguments) -> tuple[bool, bool]:
        """Whether to stop and whether to save; every process of a run comes to the same answer."""
        action = self._requests.new()
        stop, save = action == "stop" or self._stop.requested, action == "save_now"
        if args.world_size > 1:
            flags = torch.tensor([stop, save], dtype=torch.int32, device=args.device)
            torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
            stop, save = bool(flags[0]), bool(flags[1])
        return stop, save

    def _speed(self, logged: float | None) -> dict[str, float]:
        """Real tokens a second since the last row, without the time of evaluations and saves, what was padded, and
        which share of the time the model waited for its data (for its own answers, in stage ppo).

        `logged` is the trainer's own count of tokens, for stages whose batches are not made of tokens.
        """
        counted = self._meter.places > 0
        tokens = float(self._meter.tokens) if counted else logged
        found: dict[str, float] = {}
        if tokens is not None and self._busy > 0:
            new, places = tokens - self._tokens, self._meter.places - self._places
            found["tokens_per_second"] = new / self._busy
            if counted:
                found["padding_share"] = 1 - new / places if places else 0.0
        if self._busy > 0:
            found["wait_share"] = self._waited / (self._waited + self._busy)
        self._tokens, self._places = tokens or 0.0, self._meter.places
        self._busy = self._waited = 0.0
        return found

    def _seconds_left(self, state: TrainerState) -> float | None:
        done = state.global_step - self._first_step
        if not done:
            return None
        return (time.monotonic() - self._begun) / done * (state.max_steps - state.global_step)


class Patience(TrainerCallback):
    """Ends the training when the evaluation's `metric` has not improved `patience` times in a row.

    Counted anew from the trainer's log at each evaluation, so that a resumed run knows what came before.
    """

    def __init__(
        self,
        early_stopping_patience: int,
        early_stopping_threshold: float,
        reporter: Reporter,
        metric: str = "eval_loss",
        larger: bool = False,
    ) -> None:
        self._patience, self._threshold, self._reporter = early_stopping_patience, early_stopping_threshold, reporter
        self._metric, self._sign = metric, -1 if larger else 1

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        values = [
            self._sign * float(row[self._metric]) for row in state.log_history if row.get(self._metric) is not None
        ]
        if misses(values, self._threshold) >= self._patience and not control.should_training_stop:
            control.should_training_stop = True
            what = self._metric.removeprefix("eval_")
            self._reporter.notice(
                f"Stopped early at step {state.global_step}: the evaluation {what} has not improved "
                f"{self._patience} times in a row."
            )


def misses(losses: list[float], threshold: float) -> int:
    """How many losses at the end of the list are no improvement by more than `threshold` on the best before them."""
    best, count = math.inf, 0
    for loss in losses:
        if loss < best - threshold:
            best, count = loss, 0
        else:
            count += 1
    return count


def memory_peaks() -> dict[str, int]:
    """Peak memory in bytes: of the process and, where there is one, of the GPU (given out, and held in reserve)."""
    peaks = {"memory_process_peak": peak_bytes() or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    if torch.cuda.is_initialized():
        peaks["memory_gpu_allocated_peak"] = torch.cuda.max_memory_allocated()
        peaks["memory_gpu_reserved_peak"] = torch.cuda.max_memory_reserved()
    return peaks


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
