"""What a quantization needs is said before the start: packages, a GPU, a checkpoint that is what it is taken for."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from studio.config import quantization_support
from studio.config.io import check
from studio.config.leaves import leaves
from studio.config.naming import name_for
from studio.config.quantization_support import CHECKPOINTS, WHILE_LOADING, kind_faults, method_of, quantization_faults
from studio.config.serve import ServeConfig
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace


def codes(
    workspace: Path, kind: str, *, gpu: bool = True, devices: str = "auto", schema: Any = TrainConfig
) -> list[str]:
    """The codes of what stands in the way of models/m with that quantization."""
    tree: dict[str, Any] = {"model": {"path": "models/m"}, "quantization": {"type": kind}, "devices": {"use": devices}}
    if schema is TrainConfig:
        tree["data"] = {"datasets": ["d"]}
    config, _ = check(tree, schema)
    assert config is not None
    return [fault.code for fault in quantization_faults(Workspace(workspace), config, lambda: gpu) if fault.sentence()]


def put_model(workspace: Path, **config: Any) -> None:
    """A config.json in models/m."""
    folder = workspace / "models" / "m"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}), encoding="utf-8")


@pytest.fixture(autouse=True)
def _everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization_support, "find_spec", lambda name: object())


def test_every_kind_of_the_schema_is_known() -> None:
    kinds = next(leaf.options for leaf in leaves(TrainConfig) if leaf.path == "quantization.type")
    assert set(kinds) == {*WHILE_LOADING, "none", "checkpoint"}


@pytest.mark.parametrize(
    ("entry", "method"),
    [
        ({}, None),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"quantization_config": {"load_in_4bit": True}}, "bitsandbytes"),
        ({"compression_config": {"format": "pack-quantized"}}, "compressed-tensors"),
    ],
)
def test_a_checkpoint_says_how_it_is_quantized(entry: dict[str, Any], method: str | None) -> None:
    assert method_of(entry) == method


def test_plain_and_quantized_checkpoints_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    put_model(tmp_path)
    assert codes(tmp_path, "4bit") == codes(tmp_path, "none") == []
    assert codes(tmp_path, "checkpoint") == ["checkpoint_not_quantized"]
    put_model(tmp_path, quantization_config={"quant_method": "gptq"})
    assert codes(tmp_path, "checkpoint") == []
    assert codes(tmp_path, "none") == codes(tmp_path, "4bit") == ["checkpoint_quantized"]
    assert codes(tmp_path, "none", schema=ServeConfig) == []  # what only answers is loaded as it lies
    assert codes(tmp_path, "8bit", schema=ServeConfig) == ["checkpoint_quantized"]
    put_model(tmp_path, quantization_config={"quant_method": "quanto"})
    assert codes(tmp_path, "checkpoint") == ["checkpoint_unknown"]


def test_what_is_missing_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_model(tmp_path)
    assert codes(tmp_path, "eetq", gpu=False) == ["quantization_gpu"]
    assert codes(tmp_path, "eetq", devices="cpu") == ["quantization_gpu"]
    monkeypatch.setattr(quantization_support, "find_spec", lambda name: None)
    assert codes(tmp_path, "hqq") == ["quantization_package"]
    for table in (WHILE_LOADING, CHECKPOINTS):
        assert all(support.install for support in table.values() if support.packages)
    (fault,) = kind_faults("checkpoint", "gptq", "m", trains=True, has_gpu=False)
    assert "optimum, gptqmodel" in fault.sentence() and "pip install" in fault.sentence()


@pytest.mark.parametrize("kind", ["none", "4bit", "8bit", "hqq", "torchao", "eetq", "checkpoint"])
def test_every_kind_has_a_name_for_its_runs(kind: str) -> None:
    tree = {"model": {"path": "m"}, "data": {"datasets": ["d"]}, "quantization": {"type": kind}}
    config, _ = check(tree, TrainConfig)
    assert config is not None
    assert name_for(config, datetime(2026, 1, 2)).startswith("m-")
