"""A number of layers that the chosen model cannot have is said before the start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.config.io import parse
from studio.config.layer_support import layer_faults
from studio.config.workspace import Workspace


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"type": "llama-pro", "new_layers": 4}, "4 new layers cannot be spread evenly over the 6 layers"),
        ({"type": "llama-pro", "new_layers": 3}, None),
        ({"type": "freeze", "trainable_layers": -7}, "The model has 6 layers, so -7 of them cannot be trained"),
        ({"type": "freeze", "trainable_layers": -6}, None),
        ({"type": "lora"}, None),
    ],
)
@pytest.mark.parametrize("tree", [{"num_hidden_layers": 6}, {"n_layer": 6}, {"text_config": {"num_hidden_layers": 6}}])
def test_layers_that_the_model_has_not(tmp_path: Path, tree: dict[str, Any], method: Any, said: str | None) -> None:
    folder = tmp_path / "models" / "six"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(tree))
    config = parse({"model": {"path": "models/six"}, "data": {"datasets": ["a"]}, "method": method})
    sentences = [fault.sentence() for fault in layer_faults(Workspace(tmp_path), config)]
    assert len(sentences) == (said is not None)
    assert said is None or said in sentences[0]


def test_a_model_that_is_not_here_or_not_readable_is_left_to_the_worker(tmp_path: Path) -> None:
    (tmp_path / "models" / "odd").mkdir(parents=True)
    (tmp_path / "models" / "odd" / "config.json").write_text("[1]")
    for path in ("owner/name", "models/odd"):
        config = parse({"model": {"path": path}, "data": {"datasets": ["a"]}, "method": {"type": "llama-pro"}})
        assert layer_faults(Workspace(tmp_path), config) == []
