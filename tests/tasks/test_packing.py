"""Packed conversations train exactly as unpacked ones: they keep their labels and do not see each other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ALL_AT_ONCE = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_steps": 6}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_rows_give_the_losses_of_unpacked_ones(train: Callable[..., Any], attention: str) -> None:
    shared = {
        "model": {"path": "models/tiny", "attention": attention},
        "data": {"datasets": ["turns"], "cutoff_len": 256},
        "optimisation": ALL_AT_ONCE,
    }
    plain = train("plain", shared)
    packed = train("packed", shared, {"data": {"packing": True}})
    assert packed.losses == pytest.approx(plain.losses, abs=2e-4)
    assert plain.rows[0]["padding_share"] > 0
    assert packed.rows[0]["padding_share"] == 0
    assert packed.rows[0]["num_tokens"] == plain.rows[0]["num_tokens"]


def test_rows_that_see_each_other_would_be_noticed(train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the places where conversations begin, the same packed rows give other losses."""
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    shared = {"data": {"datasets": ["turns"], "cutoff_len": 256}, "optimisation": ALL_AT_ONCE}
    plain = train("plain", shared)
    monkeypatch.setattr(
        DataCollatorForLanguageModeling,
        "get_position_ids_from_packed_seq_lengths",
        staticmethod(lambda lengths: [torch.arange(sum(row)) for row in lengths]),
    )
    blurred = train("blurred", shared, {"data": {"packing": True}})
    assert blurred.losses != pytest.approx(plain.losses, abs=2e-4)


def test_plain_text_is_trained_in_full_blocks(train: Callable[..., Any]) -> None:
    run = train(
        "run", {"stage": {"type": "pretrain"}, "data": {"datasets": ["plain"], "packing": True, "cutoff_len": 32}}
    )
    assert run.code == 0
    assert "longest row 32" in run.notices


def test_several_processes_tokenize_as_one_does(
    train: Callable[..., Any], add_dataset: Callable[..., None], workspace: Path
) -> None:
    rows = [{"instruction": f"Count to {n}.", "output": " ".join(map(str, range(n % 7 + 1)))} for n in range(1100)]
    add_dataset("many", rows)
    changes = {"optimisation": {"max_steps": 3}}
    one = train("one", changes, {"data": {"datasets": ["many"]}})
    shutil.rmtree(workspace / ".cache")
    three = train("three", changes, {"data": {"datasets": ["many"], "tokenizing_processes": 3}})
    assert three.losses == one.losses
    assert three.notices == one.notices
