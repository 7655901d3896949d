"""What a config amounts to in a few facts: model, method with its main figure, rows a step, length of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import PurePosixPath

from studio.config.online_stages import Grpo, Rloo
from studio.config.train import TrainConfig


@dataclass(frozen=True)
class Outline:
    """The facts that a summary is made of. `figure` is the key and value of the method's main setting, if any."""

    stage: str
    model: str
    method: str
    figure: tuple[str, int] | None
    quantization: str
    rows_a_step: int
    steps: int | None
    steps_are_exact: bool


def outline(config: TrainConfig, rows: int | None) -> Outline:
    """The facts about a run on `rows` rows; without their number, or when rows are packed, the steps are unknown."""
    method, fixed = config.method, config.optimisation.max_steps
    rank = getattr(method, "rank", None)  # the main figure of those that have one
    batch = config.optimisation.per_device_train_batch_size * config.optimisation.gradient_accumulation_steps
    unknown = rows is None or config.data.packing
    return Outline(
        stage=config.stage.type,
        model=PurePosixPath(config.model.path.rstrip("/")).name,
        method=method.type,
        figure=(f"method.{method.type}.rank", rank) if isinstance(rank, int) else None,
        quantization=config.quantization.type,
        rows_a_step=batch,
        steps=fixed if fixed is not None else None if unknown else _steps(config, rows or 0, batch),
        steps_are_exact=fixed is not None,
    )


def _steps(config: TrainConfig, rows: int, batch: int) -> int:
    """Optimizer steps when no row is dropped: ceil(epochs × ceil(rows / batch)), held-back rows left out.

    Where answers are compared, a row takes several places of a step, and is learnt from in several passes.
    """
    stage = config.stage
    passes = stage.num_iterations if isinstance(stage, (Grpo, Rloo)) else 1
    batch = max(1, batch // stage.num_generations) if isinstance(stage, (Grpo, Rloo)) else batch
    size = config.data.validation_size
    held_back = math.ceil(rows * size) if size < 1 else min(rows, int(size))
    steps = passes * math.ceil(max(1, rows - held_back) / batch)
    return max(1, math.ceil(config.optimisation.num_train_epochs * steps))


def length_setting(config: TrainConfig) -> tuple[str, float]:
    """The path and value of the setting that decides how long the run goes on: raise it to continue a finished run."""
    if config.optimisation.max_steps is not None:
        return "optimisation.max_steps", config.optimisation.max_steps
    return "optimisation.num_train_epochs", config.optimisation.num_train_epochs
