"""Quantized bases: an adapter trains beside each kind, evaluations do not disturb it, and it resumes exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SHORT = {"optimisation": {"max_steps": 6, "precision": "bf16"}, "method": {"dropout": 0.1}}
WATCHED = {
    "data": {"datasets": ["chat"], "validation_datasets": ["turns"]},
    "cadence": {"eval_steps": 2, "save_steps": 3},
}
KINDS = [
    pytest.param({"type": kind, **settings}, marks=pytest.mark.skipif(find_spec(kind) is None, reason=f"no {kind}"))
    for kind, settings in [("hqq", {}), ("torchao", {})]
]


@pytest.mark.parametrize("quantization", KINDS)
def test_an_adapter_trains_the_same_with_evaluations_and_after_a_stop(
    train: Callable[..., Any], quantization: dict[str, Any]
) -> None:
    chosen = {"quantization": quantization}
    plain = train("plain", chosen, SHORT)
    assert plain.losses[-1] < plain.losses[0] - 0.1
    watched = train("watched", chosen, SHORT, WATCHED)
    assert watched.losses == plain.losses
    train("stopped", chosen, SHORT, WATCHED, stop_at=3)
    resumed = train("stopped", chosen, SHORT, WATCHED, resume_from="checkpoint-3")
    assert resumed.losses == plain.losses
    counted, full = plain.folder.status(), train("full", SHORT).folder.status()
    assert counted.parameters == full.parameters
    assert {"hqq": "HQQ 4-bit", "torchao": "int8"}[quantization["type"]] in counted.dtypes
