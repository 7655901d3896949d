"""Every allowed combination of stage, method and quantization trains two real steps, saves, and can be gone on from.

Some 400 runs, minutes of work: asked for with STUDIO_TEST_MATRIX=1 (`make matrix`). Which ones are refused, and in
which words, is held by tests/config/test_combinations.py in every run of the tests.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from studio.config.combination_tables import members
from studio.config.combinations import refused
from studio.config.method import Method
from studio.config.quantization import Quantization
from studio.config.stage import Stage
from tests.conftest import QUESTIONS, write_dataset

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("STUDIO_TEST_MATRIX"), reason="minutes of work: make matrix"),
]

HERE = {"hqq": "hqq", "torchao": "torchao", "4bit": "bitsandbytes", "8bit": "bitsandbytes"}
"""Quantizations that a CPU can train beside, with their packages; eetq needs a GPU, checkpoint a quantized model."""

SETTINGS: dict[str, dict[str, Any]] = {
    "vera": {"rank": 8},
    "oft": {"block_size": 8},
    "llama-pro": {"new_layers": 1},
    "adalora": {"initial_rank": 4, "target_rank": 2, "warmup_share": 0.0, "final_share": 0.0},
}
ROWS = {"pretrain": "plain", "dpo": "pairs", "orpo": "pairs", "simpo": "pairs", "reward": "pairs", "kto": "judged"}


def triples() -> list[Any]:
    """What is allowed and can be run here."""
    found: list[Any] = []
    for stage, method, bits in product(members(Stage), members(Method), members(Quantization)):
        here = bits.type == "none" or (bits.type in HERE and importlib.util.find_spec(HERE[bits.type]))
        if here and not list(refused(stage, method, bits)):
            found.append(pytest.param(stage.type, method.type, bits.type, id=f"{stage.type}-{method.type}-{bits.type}"))
    return found


@pytest.fixture
def rows(workspace: Path) -> Path:
    """The workspace with pairs and judged answers beside its conversations and texts."""
    pairs = [
        {"instruction": question, "input": "", "chosen": answer, "rejected": "I do not know."}
        for question, answer in QUESTIONS
    ]
    write_dataset(
        workspace,
        "pairs",
        pairs,
        ranking=True,
        columns={"prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected"},
    )
    judged = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
         "label": bool(number % 2)}
        for number, (question, answer) in enumerate(QUESTIONS)
    ]  # fmt: skip
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    write_dataset(
        workspace,
        "judged",
        judged,
        formatting="sharegpt",
        columns={"messages": "messages", "kto_tag": "label"},
        tags=tags,
    )
    return workspace


@pytest.mark.parametrize(("stage", "method", "quantization"), triples())
def test_two_steps(train: Callable[..., Any], rows: Path, stage: str, method: str, quantization: str) -> None:
    own: dict[str, Any] = {"type": stage}
    if stage in ("ppo", "grpo", "rloo"):
        own |= {"rewards": ["answer_length"], "reward_arguments": {"answer_length": {"at_most": 3}},
                "max_completion_length": 4, **({} if stage == "ppo" else {"num_generations": 2})}  # fmt: skip
    steps = 4 if method == "adalora" else 2  # in fewer there is nothing on which ranks could be cut
    changes: dict[str, Any] = {
        "stage": own,
        "method": {"type": method, **SETTINGS.get(method, {})},
        "quantization": {"type": quantization},
        "data": {"datasets": [ROWS.get(stage, "chat")]},
        "optimisation": {"max_steps": steps, "learning_rate": 1e-4, "gradient_accumulation_steps": 1},
        "cadence": {"save_steps": 1},
    }
    run = train("run", changes)
    losses = [row["loss"] for row in run.rows if "loss" in row]
    assert run.code == 0 and len(losses) == steps and all(math.isfinite(loss) for loss in losses)
    saved = {path.name for path in run.folder.path.iterdir()}
    assert saved & {"adapter_model.safetensors", "model.safetensors"}, saved
    assert train("run", changes, resume_from=f"checkpoint-{steps - 1}").code == 0
    assert (
        json.loads((run.folder.path / f"checkpoint-{steps}" / "trainer_state.json").read_text())["global_step"] == steps
    )
