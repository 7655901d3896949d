"""What is offered after a failure: the smallest change that takes its cause away, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from studio.config.io import override, parse
from studio.config.train import TrainConfig
from studio.runs.remedies import remedy

BASE: dict[str, Any] = {"model": {"path": "m"}, "data": {"datasets": ["d"], "cutoff_len": 600}}


def config(**changes: Any) -> TrainConfig:
    """A config with some settings by path, dots written as __."""
    return parse(override(BASE, [f"{path.replace('__', '.')}={value}" for path, value in changes.items()]))


def rows_a_step(changes: dict[str, Any]) -> int:
    return changes["optimisation.per_device_train_batch_size"] * changes["optimisation.gradient_accumulation_steps"]


@pytest.mark.parametrize(("batch", "batches", "half"), [(4, 2, 2), (3, 1, 1), (7, 2, 2), (2, 5, 1), (6, 1, 3)])
def test_less_memory_begins_with_a_smaller_batch_and_the_same_rows_a_step(batch: int, batches: int, half: int) -> None:
    given = config(optimisation__per_device_train_batch_size=batch, optimisation__gradient_accumulation_steps=batches)
    found = remedy(given, "gpu_memory")
    assert found["optimisation.per_device_train_batch_size"] == half
    assert rows_a_step(found) == batch * batches


def test_then_come_recomputing_four_bits_and_shorter_rows_until_nothing_is_left() -> None:
    changes: dict[str, Any] = {"optimisation__per_device_train_batch_size": 1}
    offered: list[str] = []
    while found := remedy(config(**changes), "main_memory"):
        offered += found
        changes |= {path.replace(".", "__"): value for path, value in found.items()}
        parse(override(BASE, [f"{path.replace('__', '.')}={value}" for path, value in changes.items()]))
    assert offered == ["optimisation.gradient_checkpointing", "quantization.type", "data.cutoff_len"]


def test_full_training_is_not_offered_four_bits() -> None:
    given = config(
        method__type="full", optimisation__per_device_train_batch_size=1, optimisation__gradient_checkpointing="on"
    )
    assert remedy(given, "gpu_memory") == {"data.cutoff_len": 300}


def test_a_third_of_the_rate_after_numbers_that_are_not_finite() -> None:
    assert remedy(config(optimisation__learning_rate=2e-4), "not_finite") == {"optimisation.learning_rate": 6.7e-5}


@pytest.mark.parametrize("kind", ["", "disk_full", "data", "package", "unexpected"])
def test_where_the_settings_are_not_to_blame_nothing_is_offered(kind: str) -> None:
    assert remedy(config(), kind) == {}
