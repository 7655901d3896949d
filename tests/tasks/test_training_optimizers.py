"""Every optimizer that the form offers moves the weights the right way, and a resumed run goes on where it says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.config.optimizers import OPTIMIZERS

pytestmark = pytest.mark.slow

# Rates other than AdamW's usual one on the tiny model.
RATES = {
    "sgd": 0.5, "schedule_free_sgd": 0.5, "lion_32bit": 5e-4, "lion_8bit": 5e-4, "paged_lion_32bit": 5e-4,
    "paged_lion_8bit": 5e-4, "adagrad": 0.02, "lamb": 0.02, "lamb_8bit": 0.02, "muon": 0.02,
}  # fmt: skip
ARGUMENTS = {"badam": {"switch_block_every": 2}, "grokadamw": {"lamb": 1.0}}
STEPS = {"schedule_free_radam": 10, "schedule_free_sgd": 10}
# torchao compiles its step at the first one, which takes a minute and more on two cores.
COMPILED = ("adamw_torch_8bit", "adamw_torch_4bit")
CPU = [name for name, entry in OPTIMIZERS.items() if not entry.gpu and name not in COMPILED]


def settings(name: str, **more: Any) -> dict[str, Any]:
    """Full training of the tiny model for a few steps by this optimizer."""
    entry = OPTIMIZERS[name]
    low_rank = {"rank": 4, "update_proj_gap": 2} if entry.targets and not entry.own else {}
    chosen = {
        "optimizer": name,
        "optimizer_arguments": {**low_rank, **ARGUMENTS.get(name, {})},
        "learning_rate": RATES.get(name, 5e-3),
        "gradient_accumulation_steps": 1,
        "per_device_train_batch_size": 8,
        "max_steps": STEPS.get(name, 5),
        **more,
    }
    return {"method": {"type": "full"}, "optimisation": chosen}


@pytest.mark.parametrize("name", CPU)
def test_it_lowers_the_loss(train: Callable[..., Any], name: str) -> None:
    if not OPTIMIZERS[name].installed():
        pytest.skip(f"{OPTIMIZERS[name].install} is not installed")
    run = train("run", settings(name))
    assert run.code == 0
    assert len(run.losses) == STEPS.get(name, 5)
    assert run.losses[-1] < run.losses[0] - 0.02


@pytest.mark.parametrize("name", ["muon", "lamb", "adam_mini", "galore_adamw", "apollo_adamw", "schedule_free_adamw"])
def test_a_resumed_run_equals_one_that_was_never_stopped(train: Callable[..., Any], workspace: Path, name: str) -> None:
    assert OPTIMIZERS[name].exact
    if not OPTIMIZERS[name].installed():
        pytest.skip(f"{OPTIMIZERS[name].install} is not installed")
    changes = {**settings(name, max_steps=4, lr_scheduler_type="linear"), "cadence": {"save_steps": 2}}
    whole = train("whole", changes)
    shutil.copytree(whole.folder.path / "checkpoint-2", workspace / "saves" / "again" / "checkpoint-2")
    again = train("again", changes, resume_from="checkpoint-2")
    assert again.losses == pytest.approx(whole.losses[2:], abs=1e-4)


def test_every_name_and_argument_is_one_of_the_library() -> None:
    from transformers.training_args import OptimizerNames

    known = {entry.value for entry in OptimizerNames}
    assert {name for name, entry in OPTIMIZERS.items() if not entry.own} <= known
    assert not {name for name, entry in OPTIMIZERS.items() if entry.own} & known


@pytest.mark.parametrize("ratio", [1.0, 16.0])
def test_lora_plus_moves_b_faster_than_a(train: Callable[..., Any], ratio: float, rates: list[set[float]]) -> None:
    train("run", {"method": {"rank": 4, "loraplus_ratio": ratio}, "optimisation": {"max_steps": 1}})
    assert rates == [{5e-3, 5e-3 * ratio}]


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[set[float]]:
    """The learning rates of the optimizers that were made in this test."""
    from studio.tasks import trainer as module

    seen: list[set[float]] = []
    make = module.own_optimizer

    def watched(*arguments: Any) -> Any:
        made = make(*arguments)
        seen.append({group["lr"] for group in made.param_groups if group["params"]})
        return made

    monkeypatch.setattr(module, "own_optimizer", watched)
    return seen


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
        ("cosine_warmup_with_min_lr", {"min_lr": 1e-4, "warmup_lr_rate": 0.5}),
        ("warmup_stable_decay", {"num_decay_steps": 2, "decay_type": "linear", "min_lr_ratio": 0.1}),
        ("polynomial", {"lr_end": 1e-4, "power": 2.0}),
        ("cosine_with_restarts", {"num_cycles": 2}),
        ("inverse_sqrt", {"timescale": 10}),
        ("constant_with_warmup", {}),
        ("linear", {}),
    ],
)
def test_a_schedule_takes_its_arguments(name: str, arguments: dict[str, Any]) -> None:
    import torch
    from transformers import get_scheduler

    from studio.config.optimizer_rules import SCHEDULES

    assert set(arguments) <= set(SCHEDULES[name].arguments)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = get_scheduler(name, optimizer, 2, 8, scheduler_specific_kwargs=dict(arguments) or None)
    seen = []
    for _ in range(8):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert max(seen) <= 1.0 and seen[1] > 0
    if "min_lr_rate" in arguments:
        assert schedule.get_last_lr()[0] == pytest.approx(0.1)
