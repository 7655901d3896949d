"""The arguments that a config may give to the trainer of each stage are those that the installed trainers have."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from studio.config.io import check
from studio.config.stage_trainer_arguments import OWN_ARGUMENTS
from studio.config.trainer_arguments import FIELD_OF_ARGUMENT, FORBIDDEN_ARGUMENTS, FREE_ARGUMENTS
from studio.tasks.arguments import plan
from studio.tasks.machine import Machine

COMPLETE = ("dpo", "kto", "orpo", "simpo", "reward", "sft")


def classes() -> dict[str, Any]:
    """The arguments' class of each stage."""
    from trl import DPOConfig, GRPOConfig, KTOConfig, RewardConfig, RLOOConfig, SFTConfig

    from studio.tasks.pair_trainer import PairArguments
    from studio.tasks.ppo.arguments import PpoArguments

    return {
        "sft": SFTConfig,
        "pretrain": SFTConfig,
        "dpo": DPOConfig,
        "kto": KTOConfig,
        "orpo": PairArguments,
        "simpo": PairArguments,
        "reward": RewardConfig,
        "ppo": PpoArguments,
        "grpo": GRPOConfig,
        "rloo": RLOOConfig,
    }


def names(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.slow
def test_the_lists_name_what_the_trainers_take() -> None:
    from transformers import TrainingArguments

    shared = names(TrainingArguments)
    assert shared >= FREE_ARGUMENTS
    assert OWN_ARGUMENTS.keys() == classes().keys()
    for stage, kind in classes().items():
        own = OWN_ARGUMENTS[stage]
        listed = {*own.fields, *own.free, *own.refused}
        assert listed <= names(kind), stage
        if stage in COMPLETE:
            assert names(kind) - shared <= listed | FIELD_OF_ARGUMENT.keys() | FORBIDDEN_ARGUMENTS, stage


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["dpo", "kto", "orpo", "simpo", "reward"])
def test_the_trainer_of_a_stage_takes_every_argument(stage: str, tmp_path: Path) -> None:
    tree = {"model": {"path": "m"}, "data": {"datasets": ["d"]}, "stage": {"type": stage}}
    config, faults = check({**tree, "trainer": {"adam_beta1": 0.8}})
    assert config is not None
    assert not [fault for fault in faults if fault.severity == "fault"]
    built = classes()[stage](**plan(config, Machine("cpu", bf16=False), tmp_path).trainer)
    assert built.adam_beta1 == 0.8


@pytest.mark.parametrize(
    ("stage", "argument", "code"),
    [
        ("dpo", "beta", "trainer_reserved"),
        ("dpo", "f_divergence_type", None),
        ("sft", "f_divergence_type", "trainer_unknown"),
        ("kto", "sync_ref_model", "trainer_forbidden"),
        ("dpo", "packing_strategy", "trainer_unknown"),
        ("sft", "packing_strategy", None),
    ],
)
def test_an_argument_belongs_to_its_stage(stage: str, argument: str, code: str | None) -> None:
    tree = {"model": {"path": "m"}, "data": {"datasets": ["d"]}, "stage": {"type": stage}, "trainer": {argument: 1}}
    found = [fault.code.removesuffix("_near") for fault in check(tree)[1] if fault.path == "trainer"]
    assert found == ([code] if code else [])
