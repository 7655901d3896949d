"""The table of optimizers says what the form, the faults and the docs say; packages are looked for, not imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from studio.config.faults import ConfigError
from studio.config.io import parse
from studio.config.machine_support import machine_faults
from studio.config.optimizers import OPTIMIZERS, optimizers_table
from studio.config.targets import chosen_targets, pattern_fault

ROOT = Path(__file__).parents[2]
FULL = {"type": "full"}


def faults_of(method: dict[str, Any], **optimisation: Any) -> str:
    """What is said about a config, "" for nothing."""
    tree = {"model": {"path": "m"}, "data": {"datasets": ["d"]}, "method": method, "optimisation": optimisation}
    try:
        parse(tree)
    except ConfigError as error:
        return str(error)
    return ""


def test_the_docs_hold_the_table() -> None:
    assert optimizers_table() in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("method", "optimisation", "says"),
    [
        ({}, {"optimizer": "adamw_8bits"}, "There is no optimizer 'adamw_8bits'. Did you mean 'adamw_8bit'?"),
        (FULL, {"optimizer": "galore_adamw", "optimizer_arguments": {"ranc": 3}}, "Did you mean 'rank'?"),
        (FULL, {"optimizer": "galore_adamw", "optimizer_arguments": {"rank": "three"}}, "give a number"),
        ({}, {"optimizer": "adafactor", "optimizer_arguments": {"momentum": 1}}, "It takes: none"),
        ({}, {"optimizer": "muon", "optimizer_arguments": {"nesterov": 1}}, "give true or false"),
        ({}, {"optimizer": "galore_adamw"}, "made for whole weights"),
        (FULL, {"optimizer": "lomo"}, "gradient_accumulation_steps=1"),
        (FULL, {"optimizer_target_modules": ["mlp"]}, "galore_adamw"),
        ({"loraplus_ratio": 16}, {"optimizer": "muon"}, "LoRA+ gives A and B rates of their own"),
        ({"freeze_a": True}, {"optimizer": "sgd"}, "LoRA-FA is an AdamW of its own"),
        ({}, {"lr_scheduler_type": "warmup_stable_decay"}, "{num_decay_steps: 100}"),
        ({}, {"lr_scheduler_type": "cosine_with_min_lr"}, "min_lr_rate or min_lr, one of them"),
        (
            {},
            {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 1e-5, "min_lr_rate": 0.1}},
            "one of them",
        ),
        ({}, {"lr_scheduler_type": "linear", "lr_scheduler_kwargs": {"num_cycles": 2}}, "linear takes no argument"),
    ],
)
def test_a_fault_names_what_is_wrong_and_the_way_out(
    method: dict[str, Any], optimisation: dict[str, Any], says: str
) -> None:
    assert says in faults_of(method, **optimisation)


@pytest.mark.parametrize(
    ("method", "optimisation"),
    [
        (FULL, {"optimizer": "galore_adamw", "optimizer_arguments": {"rank": 64, "scale": 1}}),
        (FULL, {"optimizer": "lomo", "gradient_accumulation_steps": 1}),
        ({"loraplus_ratio": 16}, {"optimizer": "lamb"}),
        ({}, {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 10}}),
    ],
)
def test_what_works_is_let_through(method: dict[str, Any], optimisation: dict[str, Any]) -> None:
    assert faults_of(method, **optimisation) == ""


def test_a_missing_package_or_gpu_is_said_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def config(method: dict[str, Any], model: dict[str, Any], **optimisation: Any) -> Any:
        sections = {"model": {"path": "m", **model}, "data": {"datasets": ["d"]}, "method": method}
        return parse({**sections, "optimisation": optimisation})

    def said(gpu: bool, chosen: Any) -> list[str]:
        return [fault.sentence() for fault in machine_faults(chosen, lambda: gpu)]

    chosen = config(FULL, {}, optimizer="galore_adamw")
    monkeypatch.setattr("studio.config.optimizers.importlib.util.find_spec", lambda name: None)
    assert said(False, chosen) == ["galore_adamw needs a package that is not installed where Studio runs: pip install "
                                   "galore-torch."]  # fmt: skip
    monkeypatch.setattr("studio.config.optimizers.importlib.util.find_spec", lambda name: object())
    assert said(False, chosen) == []
    lomo = config(FULL, {}, optimizer="lomo", gradient_accumulation_steps=1)
    assert "runs on an NVIDIA GPU only" in said(False, lomo)[0]
    assert said(True, lomo) == []
    flash = config({}, {"attention": "flash_attention_2"}, liger_kernel=True, tf32=True)
    assert len(said(False, flash)) >= 3
    assert said(True, config({}, {}, tf32=True)) == []
    assert not {entry.module for entry in OPTIMIZERS.values()} & set(sys.modules)


def test_one_entry_that_is_no_name_is_an_expression() -> None:
    assert chosen_targets(["q_proj"]) == ["q_proj"]
    assert chosen_targets([".*(q|v)_proj"]) == ".*(q|v)_proj"
    assert pattern_fault([".*_proj", "lm_head"]) == (".*_proj", "alone")
    assert pattern_fault(["(q_proj"]) is not None
    assert pattern_fault("all-linear") is None
