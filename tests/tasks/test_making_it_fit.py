"""Make it fit: the smallest change is found, the steps go from gentle to harsh, and it says when nothing helps."""

from __future__ import annotations

from typing import Any

from studio.config.io import override, parse
from studio.config.train import TrainConfig
from studio.tasks.forecast.fitting import fit


def config_of(*words: str) -> TrainConfig:
    tree = {"model": {"path": "models/none"}, "data": {"datasets": ["d"], "cutoff_len": 1024}}
    return parse(override(tree, words))


def weigh(config: TrainConfig) -> int:
    """A forecast in round numbers: weights 100 (25 in 4 bits), 20 a row of 1,024 tokens (5 recomputed), 10 the rest."""
    base = 25 if config.quantization.type == "4bit" else 100
    row = 5 if config.optimisation.gradient_checkpointing == "on" else 20
    tokens = config.optimisation.per_device_train_batch_size * config.data.cutoff_len / 1024
    return int(base + row * tokens + 10)


def test_a_run_that_fits_is_left_alone() -> None:
    found = fit(config_of(), weigh, 1000, "cpu")
    assert found.fits and not found.changes


def test_the_largest_batch_that_fits_keeps_the_rows_of_a_step() -> None:
    found = fit(config_of(), weigh, 160, "cpu")  # 190 as it is
    assert found.changes == {
        "optimisation.per_device_train_batch_size": 2,
        "optimisation.gradient_accumulation_steps": 4,
    }
    assert (found.before, found.after) == (190, 150)


def test_checkpointing_comes_before_a_quantized_base() -> None:
    one = ["optimisation.per_device_train_batch_size=1", "optimisation.gradient_accumulation_steps=1"]
    assert fit(config_of(*one), weigh, 116, "cpu").changes == {"optimisation.gradient_checkpointing": "on"}
    assert fit(config_of(*one), weigh, 60, "cpu").changes == {"quantization.type": "4bit"}


def test_a_base_is_not_quantized_where_the_method_cannot_train_beside_it() -> None:
    found = fit(config_of("method.type=full"), weigh, 60, "cpu")
    assert not found.fits and "quantization.type" not in found.changes


def test_what_was_not_needed_is_taken_back() -> None:
    found = fit(config_of(), weigh, 45, "cpu")
    assert found.fits and found.after <= 45
    for path in found.changes:
        rest: dict[str, Any] = {other: value for other, value in found.changes.items() if other != path}
        if path.startswith("optimisation.gradient_accumulation") or path.endswith("batch_size"):
            continue  # these two go together
        changed = parse(
            override(config_of().model_dump(mode="json"), [f"{key}={value!r}" for key, value in rest.items()])
        )
        assert weigh(changed) > 45, path


def test_it_says_when_nothing_is_enough() -> None:
    found = fit(config_of(), weigh, 20, "cpu")
    assert not found.fits and found.after > 20 and found.after < found.before


def test_rows_are_cut_only_when_all_else_is_not_enough() -> None:
    found = fit(config_of("method.type=full", "data.cutoff_len=8192"), weigh, 160, "cpu")
    assert found.fits and "data.cutoff_len" not in found.changes, found.changes
    harder = fit(config_of("method.type=full", "data.cutoff_len=8192"), weigh, 115, "cpu")
    assert harder.fits and harder.changes["data.cutoff_len"] < 8192
