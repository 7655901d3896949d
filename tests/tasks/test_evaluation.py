"""Looking at a run does not change it: evaluations and sample answers leave the losses as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

EVALUATED = {"data": {"datasets": ["chat"], "validation_datasets": ["turns"]}, "cadence": {"eval_steps": 3}}


@pytest.mark.parametrize(
    "quantization", [{"type": "none"}, {"type": "4bit"}, {"type": "8bit"}], ids=["none", "nf4", "8bit"]
)
def test_evaluations_leave_the_losses_unchanged(train: Callable[..., Any], quantization: dict[str, Any]) -> None:
    changes = {"quantization": quantization, "optimisation": {"precision": "bf16"}, "method": {"dropout": 0.1}}
    plain = train("plain", changes)
    evaluated = train("evaluated", changes, EVALUATED)
    assert evaluated.losses == pytest.approx(plain.losses, abs=1e-6)
    assert len([row for row in evaluated.rows if "eval_loss" in row]) == 4


def test_the_guard_of_four_bit_weights_is_needed_where_it_acts(
    train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from studio.tasks.quantized import bitsandbytes

    if not torch.cpu.get_capabilities().get("avx512_bf16"):
        pytest.skip("bitsandbytes repacks 4-bit weights only on CPUs with avx512_bf16")
    changes = {"quantization": {"type": "4bit"}, "optimisation": {"precision": "bf16"}}
    right = train("right", changes, EVALUATED)
    monkeypatch.setattr(bitsandbytes, "keep_four_bit_trainable", lambda loaded: None)
    wrong = train("wrong", changes, EVALUATED)
    assert wrong.losses[:3] == pytest.approx(right.losses[:3], abs=1e-2)
    assert wrong.losses != pytest.approx(right.losses, abs=1e-2), "bitsandbytes is mended: remove the guard"


def test_samples_are_written_and_leave_the_losses_unchanged(train: Callable[..., Any]) -> None:
    dropout = {"method": {"dropout": 0.1}}
    plain = train("plain", dropout, EVALUATED)
    asked = train("asked", dropout, EVALUATED, {"samples": {"prompts": ["Who are you?", "Hm?"], "max_new_tokens": 8}})
    assert asked.losses == pytest.approx(plain.losses, abs=1e-6)
    file = asked.folder.path / "samples.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [(row["step"], row["prompt"]) for row in rows] == [
        (step, prompt) for step in (0, 3, 6, 9, 12) for prompt in ("Who are you?", "Hm?")
    ]
    assert rows[0]["answer"] != rows[-2]["answer"]


def test_a_resumed_run_does_not_ask_before_its_first_step(train: Callable[..., Any]) -> None:
    samples = {"samples": {"prompts": ["Who are you?"], "max_new_tokens": 4}}
    train("run", samples, stop_at=4)
    run = train("run", samples, resume_from="checkpoint-4")
    lines = (run.folder.path / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 12]


def test_early_stopping_ends_the_run_with_a_checkpoint(train: Callable[..., Any]) -> None:
    strict = {"cadence": {"eval_steps": 2, "early_stopping_patience": 1, "early_stopping_threshold": 50.0}}
    run = train("run", EVALUATED, strict)
    assert run.code == 0
    assert run.rows[-1]["step"] == 4
    assert (run.folder.path / "checkpoint-4").is_dir()
    assert "Stopped early at step 4" in run.notices
    assert run.folder.status().phase == "finished"


def test_the_best_state_is_kept_and_loaded(train: Callable[..., Any]) -> None:
    best = {"cadence": {"eval_steps": 3, "save_steps": 3, "load_best_model_at_end": True, "save_total_limit": 1}}
    run = train("run", EVALUATED, best, {"optimisation": {"learning_rate": 0.1}})
    evaluations = {row["step"]: row["eval_loss"] for row in run.rows if "eval_loss" in row}
    step = min(evaluations, key=lambda key: evaluations[key])
    kept = (run.folder.path / f"checkpoint-{step}" / "adapter_model.safetensors").read_bytes()
    assert (run.folder.path / "adapter_model.safetensors").read_bytes() == kept
