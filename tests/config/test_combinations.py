"""Every combination of stage, method and quantization is either planned or refused in one sentence with a way out."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from studio.config.combination_tables import members, tables
from studio.config.combinations import REFUSALS, refused
from studio.config.faults import MESSAGES
from studio.config.io import check
from studio.config.method import Method
from studio.config.quantization import Quantization
from studio.config.stage import Stage
from studio.config.train import TrainConfig
from studio.tasks.arguments import plan
from studio.tasks.machine import Machine

STAGES, METHODS, QUANTIZATIONS = (members(union) for union in (Stage, Method, Quantization))
TRIPLES = [(one.type, two.type, three.type) for one, two, three in product(STAGES, METHODS, QUANTIZATIONS)]


def tree(stage: str, method: str, quantization: str) -> dict[str, Any]:
    """A config of these types with all else as it comes."""
    return {
        "model": {"path": "m"},
        "data": {"datasets": ["d"]},
        "stage": {"type": stage, **({"rewards": ["thinking_format"]} if stage in ("ppo", "grpo", "rloo") else {})},
        "method": {"type": method},
        "quantization": {"type": quantization},
    }


def faults_of(triple: tuple[str, str, str]) -> list[Any]:
    """What is said against the three sections together."""
    _, faults = check(tree(*triple))
    places = ("stage.type", "method.type", "quantization.type")
    return [fault for fault in faults if fault.severity == "fault" and fault.path in places]


def test_the_matrix_is_whole() -> None:
    assert len(STAGES) >= 10
    assert len(METHODS) >= 15
    assert len(TRIPLES) == len(STAGES) * len(METHODS) * len(QUANTIZATIONS)


def test_every_refused_combination_says_why_in_one_sentence_and_the_others_can_be_planned() -> None:
    refusals = 0
    for triple in TRIPLES:
        config = TrainConfig.model_validate(tree(*triple))
        reasons = list(refused(config.stage, config.method, config.quantization))
        if reasons:
            refusals += 1
            said = faults_of(triple)
            assert said, triple
            for fault in said:
                sentence = fault.sentence()
                assert "{" not in sentence and len(sentence) < 300, sentence
                assert re.search(r"\b(Choose|Set|Switch|Train|Use|Empty)\b", sentence), f"{triple}: {sentence}"
        else:
            assert plan(config, Machine("cuda", bf16=True), Path("run")).method["type"] == triple[1]
    assert 0 < refusals < len(TRIPLES)


def test_plain_full_training_and_lora_go_with_every_stage() -> None:
    for stage in STAGES:
        for method in ("full", "lora"):
            assert not faults_of((stage.type, method, "none")), (stage.type, method)
        assert not faults_of((stage.type, "lora", "4bit")), stage.type


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
def test_a_refusal_names_types_that_exist_and_a_sentence(refusal: Any) -> None:
    for group, known in (
        (refusal.stages, STAGES), (refusal.methods, METHODS), (refusal.quantizations, QUANTIZATIONS)
    ):  # fmt: skip
        assert group <= {one.type for one in known}
    assert refusal.code in MESSAGES
    assert refusal.path in ("stage.type", "method.type", "quantization.type")


def test_the_tables_hold_every_method_twice() -> None:
    lines = list(tables())
    for method in METHODS:
        assert len([line for line in lines if line.startswith(f"| `{method.type}` |")]) == 2
