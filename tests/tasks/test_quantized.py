"""Quantized bases: an adapter trains beside each kind, evaluations do not disturb it, and it resumes exactly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from studio.tasks.failures import TaskError

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
    train: Callable[..., Any], workspace: Path, quantization: dict[str, Any]
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
    serves_the_same(workspace, quantization)


def serves_the_same(workspace: Path, quantization: dict[str, Any]) -> None:
    """The adapter answers beside weights that are quantized in the same way, and moves what they say."""
    import torch

    from studio.config.io import check
    from studio.config.serve import ServeConfig
    from studio.config.workspace import Workspace
    from studio.tasks.machine import Machine
    from studio.tasks.serving.loading import load

    tree = {"model": {"path": "models/tiny"}, "quantization": quantization, "serving": {"adapters": ["saves/plain"]}}
    config, _ = check(tree, ServeConfig)
    assert config is not None
    model = load(config, Workspace(workspace), Machine("cpu", bf16=False)).model
    ids = torch.tensor([[1, 5, 7, 9]])
    with torch.no_grad():
        tuned = model(ids).logits
        with model.disable_adapter():
            plain = model(ids).logits
    assert torch.isfinite(tuned).all() and not torch.allclose(tuned, plain, atol=1e-3)


@pytest.mark.parametrize("kind", ["bitsandbytes", "fp8"])
def test_an_adapter_trains_beside_a_checkpoint_that_is_quantized_already(
    train: Callable[..., Any], workspace: Path, kind: str
) -> None:
    {"bitsandbytes": save_in_four_bits, "fp8": save_in_fp8}[kind](workspace / "models")
    model = {"model": {"path": "models/packed"}}
    run = train("run", model, SHORT, {"quantization": {"type": "checkpoint"}})
    assert run.losses[-1] < run.losses[0] - 0.1
    with pytest.raises(TaskError, match=f"quantized already \\({kind}\\)"):
        train("other", model, SHORT, {"quantization": {"type": "4bit"}})


def save_in_four_bits(models: Path) -> None:
    """models/packed: the tiny model as bitsandbytes saves it."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    shutil.copytree(models / "tiny", models / "packed")
    model = AutoModelForCausalLM.from_pretrained(
        models / "tiny", quantization_config=BitsAndBytesConfig(load_in_4bit=True), device_map={"": "cpu"}
    )
    model.save_pretrained(models / "packed")


def save_in_fp8(models: Path) -> None:
    """models/packed: its matrices in float8 with a scale for each block of 32 by 32."""
    import torch
    from safetensors.torch import load_file, save_file

    side = 32
    shutil.copytree(models / "tiny", models / "packed")
    packed: dict[str, Any] = {}
    for name, value in load_file(models / "tiny" / "model.safetensors").items():
        if "proj" not in name:
            packed[name] = value
            continue
        rows, columns = value.shape
        blocks = value.reshape(rows // side, side, columns // side, side)
        scale = blocks.abs().amax((1, 3), keepdim=True) / 448  # the largest number of float8_e4m3fn
        packed[name] = (blocks / scale).reshape(rows, columns).to(torch.float8_e4m3fn)
        packed[f"{name}_scale_inv"] = scale[:, 0, :, 0].contiguous()
    save_file(packed, models / "packed" / "model.safetensors", metadata={"format": "pt"})
    file = models / "packed" / "config.json"
    tree = json.loads(file.read_text(encoding="utf-8"))
    tree["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [side, side]}
    file.write_text(json.dumps(tree), encoding="utf-8")
