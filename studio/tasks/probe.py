"""A probe: two real steps of a training run on its longest rows, measured; nothing of it is kept but the numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from studio.config.probe import STEPS, ProbeConfig, probe_of
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec
from studio.tasks import train
from studio.tasks.forecast.need import need
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag


class SavesNothing(TrainerCallback):
    """Takes back what others ask for at the end of a step: a checkpoint."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        control.should_save = False


def run(folder: RunFolder, job: JobSpec, config: ProbeConfig, reporter: Reporter, stop: StopFlag) -> int:
    """Take the steps and keep what they took under .cache/probes. Raises what a training run raises."""
    config = probe_of(config)
    rows = config.optimisation.per_device_train_batch_size * config.optimisation.gradient_accumulation_steps
    return train.course(
        folder,
        replace(job, resume_from=None),
        config,
        reporter,
        stop,
        choose=lambda prepared: longest_rows(prepared, rows * STEPS),
        further=[SavesNothing()],
        source="probe",
        foretell=need,
    )


def longest_rows(prepared: Any, count: int) -> Any:
    """The prepared data with its `count` longest rows alone, the longest first."""
    lengths = train.row_lengths(prepared.train)
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])[:count]
    return replace(prepared, train=prepared.train.select(order))
