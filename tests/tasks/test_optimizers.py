"""Every optimizer that the form offers moves the weights the right way, and a resumed run goes on where it says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from studio.config.optimizers import ADAM, OPTIMIZERS
from studio.config.stage import Sft

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
