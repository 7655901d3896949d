"""Each way of training makes real steps on a tiny model, and the loss falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="lora"),
        pytest.param({"method": {"type": "full"}, "optimisation": {"learning_rate": 3e-3}}, id="full"),
        pytest.param({"method": {"type": "freeze", "trainable_layers": 1}}, id="freeze"),
        pytest.param(
            {"stage": {"type": "pretrain"}, "data": {"datasets": ["plain"], "cutoff_len": 128}}, id="pretrain"
        ),
        pytest.param({"quantization": {"type": "4bit"}}, id="nf4"),
        pytest.param({"quantization": {"type": "4bit", "quant_type": "fp4"}}, id="fp4"),
        pytest.param({"quantization": {"type": "8bit"}}, id="8bit"),
        pytest.param({"optimisation": {"precision": "bf16"}}, id="bf16"),
        pytest.param({"optimisation": {"precision": "pure_bf16"}}, id="pure_bf16"),
        pytest.param({"data": {"datasets": ["turns"], "cutoff_len": 256, "packing": True}}, id="packing"),
    ],
)
def test_the_loss_falls(train: Callable[..., Any], changes: dict[str, Any]) -> None:
    run = train("run", {"optimisation": {"max_steps": 32}}, changes)
    assert run.code == 0
    assert len(run.losses) == 32
    assert sum(run.losses[-4:]) / 4 < sum(run.losses[:4]) / 4 - 0.5
    assert run.folder.status().phase == "finished"
