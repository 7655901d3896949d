"""How long the rows of a run are, where their tokens were counted before: the longest, the steps, what is cut."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.config.token_settings import chosen_datasets
from studio.config.train import TrainConfig
from studio.tasks.desk import Desk
from studio.tasks.token_scan import known

COUNTED = frozenset({"sft", "pretrain"})  # stages whose rows the Tokens view counts


@dataclass(frozen=True)
class Rows:
    """What is known of all datasets together. `longest` and `common` (95 % of the rows are no longer) before cutting;
    `units` are rows, or packed rows, of one epoch."""

    rows: int
    kept: int
    cut: int
    dropped: int
    tokens: int
    units: int
    longest: int
    common: int


def counted(desk: Desk, config: TrainConfig, tree: Mapping[str, Any]) -> Rows | None:
    """The rows of the config's datasets; None while the tokens of one of them were not counted. Raises TaskError."""
    names = chosen_datasets(config)
    if config.stage.type not in COUNTED or not names:
        return None
    reports = [known(desk, {"config": tree, "name": name})["report"] for name in names]
    if any(report is None for report in reports):
        return None
    sums = [report["account"] for report in reports]

    def total(field: str) -> int:
        return sum(one[field] for one in sums)

    return Rows(
        rows=total("rows"),
        kept=total("kept"),
        cut=total("cut"),
        dropped=total("dropped") + total("masked"),
        tokens=total("tokens"),
        units=total("units"),
        longest=max((length for report in reports for _, length in report["longest"]), default=0),
        common=max((report["most"] for report in reports), default=0),
    )


def steps_of(config: TrainConfig, rows: Rows | None) -> int | None:
    """Optimizer steps of the whole run; None while the rows are unknown and no number of steps is set."""
    own = config.optimisation
    if own.max_steps is not None:
        return own.max_steps
    if rows is None:
        return None
    batches = math.ceil(rows.units / own.per_device_train_batch_size)
    return max(1, math.ceil(own.num_train_epochs * math.ceil(batches / own.gradient_accumulation_steps)))
