"""What of a serving config cannot work is said before anything starts, and the engine's command follows the config."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from studio.config.io import check, parse
from studio.config.serve import ServeConfig
from studio.config.serve_rules import RULES
from studio.config.workspace import Workspace
from studio.runs import engines
from studio.runs.engines import EngineError
from studio.tasks.serving import outside

BREAKS: dict[str, dict[str, Any]] = {
    "engines_take_whole_models": {"engine": {"type": "vllm"}, "quantization": {"type": "4bit"}},
    "transformers_merges": {"engine": {"type": "vllm"}, "serving": {"merged": ["saves/a"]}},
    "gguf_is_for_llama_cpp": {"engine": {"type": "llama-cpp"}, "serving": {"adapters": ["saves/a"]}},
    "vllm_needs_a_gpu": {"engine": {"type": "vllm"}, "devices": {"use": "cpu"}},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_speaks_when_it_is_broken_and_is_silent_otherwise(rule: Any) -> None:
    model = {"model": {"path": "models/x"}}
    broken, _ = check({**model, **BREAKS[rule.__name__]}, ServeConfig)
    assert broken is not None
    assert all(fault.sentence() for fault in rule(broken))
    assert list(rule(broken))
    assert list(rule(parse(model, ServeConfig))) == []


def test_a_gguf_file_and_llama_cpp_belong_together() -> None:
    for tree in (
        {"model": {"path": "exports/x.gguf"}},
        {"model": {"path": "models/x"}, "engine": {"type": "llama-cpp"}},
    ):
        _, faults = check(tree, ServeConfig)
        assert [fault.code for fault in faults] in (["gguf_given"], ["gguf_needed"])
    assert parse({"model": {"path": "exports/x.gguf"}, "engine": {"type": "llama-cpp"}}, ServeConfig)


def test_the_command_of_an_engine_follows_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "models" / "x").mkdir(parents=True)
    tree: dict[str, Any] = {
        "model": {"path": "models/x"},
        "engine": {"type": "vllm", "gpu_memory_share": 0.5},
        "serving": {"adapters": ["saves/a", "saves/b/checkpoint-3"], "context_len": 2048, "places": 3},
    }
    config = parse(tree, ServeConfig)
    with pytest.raises(EngineError, match="studio engines install vllm"):
        outside.command(config, workspace, 8000)
    monkeypatch.setattr(outside, "interpreter", lambda _workspace, _name: Path("/engine/python"))
    words = outside.command(config, workspace, 8000)
    assert words[:3] == ["/engine/python", "-m", "vllm.entrypoints.openai.api_server"]
    pairs = dict(pairwise(words))
    assert pairs["--model"] == str(tmp_path / "models" / "x")
    assert (pairs["--port"], pairs["--max-model-len"], pairs["--max-num-seqs"]) == ("8000", "2048", "3")
    assert pairs["--gpu-memory-utilization"] == "0.5"
    assert words[-2:] == [f"a={tmp_path}/saves/a", f"b/checkpoint-3={tmp_path}/saves/b/checkpoint-3"]
    gguf = parse({"model": {"path": "exports/x.gguf"}, "engine": {"type": "llama-cpp"}}, ServeConfig)
    assert str(tmp_path / "exports" / "x.gguf") in outside.command(gguf, workspace, 8001)
    assert {"vllm", "llama-cpp"} <= engines.ENGINES.keys()
