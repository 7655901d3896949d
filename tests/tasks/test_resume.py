"""A run that was stopped and resumed is the run that was never stopped: same rows, same losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

# 8 rows in batches of 2, two batches a step: an epoch has two steps, so step 5 lies in the middle of the third.
LORA = {"method": {"dropout": 0.1}, "optimisation": {"lr_scheduler_type": "cosine", "warmup_steps": 0.1}}
CASES = [
    pytest.param(LORA, id="lora"),
    pytest.param({**LORA, "optimisation": {**LORA["optimisation"], "group_by_length": False}}, id="ungrouped"),
    pytest.param({**LORA, "quantization": {"type": "4bit"}}, id="nf4"),
    pytest.param({**LORA, "optimisation": {**LORA["optimisation"], "precision": "bf16"}}, id="bf16"),
    pytest.param({**LORA, "data": {"datasets": ["turns"], "packing": True, "cutoff_len": 160}}, id="packing"),
    pytest.param({"method": {"type": "full"}, "optimisation": {"learning_rate": 3e-3}}, id="full"),
    pytest.param(
        {**LORA, "data": {"validation_size": 2}, "cadence": {"eval_steps": 2, "save_steps": 2}}, id="with-evaluation"
    ),
]


@pytest.mark.parametrize("changes", CASES)
@pytest.mark.parametrize("step", [4, 5])
def test_a_resumed_run_equals_one_that_was_never_stopped(
    train: Callable[..., Any], changes: dict[str, Any], step: int
) -> None:
    whole = train("whole", changes)
    first = train("broken", changes, stop_at=step)
    assert first.code == 10
    assert first.folder.status().phase == "stopped"
    assert len(first.losses) == step
    second = train("broken", changes, resume_from=f"checkpoint-{step}")
    assert second.code == 0
    assert second.losses == pytest.approx(whole.losses, abs=1e-4)
    events = [row for row in second.rows if row.get("event") == "resumed"]
    assert [event["step"] for event in events] == [step]


def test_a_finished_run_goes_on_for_more_epochs(train: Callable[..., Any]) -> None:
    short = {"optimisation": {"max_steps": 6}}
    assert train("run", short).code == 0
    more = train("run", resume_from="checkpoint-6")
    assert more.losses == pytest.approx(train("whole").losses, abs=1e-4)


def test_a_finished_run_that_is_resumed_does_no_further_step(train: Callable[..., Any]) -> None:
    steps = {"optimisation": {"max_steps": 2}}
    first = train("run", steps)
    done = first.folder.metrics_file.read_text(encoding="utf-8").count('"loss"')
    again = train("run", steps, resume_from="checkpoint-2")
    assert again.folder.status().phase == "finished"
    assert again.folder.metrics_file.read_text(encoding="utf-8").count('"loss"') == done == 2


def test_changed_intervals_hold_after_a_resume(train: Callable[..., Any]) -> None:
    train("run", stop_at=4)
    run = train("run", {"cadence": {"logging_steps": 4, "save_steps": 6}}, resume_from="checkpoint-4")
    later = [row["step"] for row in run.rows if "loss" in row and row["step"] > 4]
    assert later == [8, 12]
    assert (run.folder.path / "checkpoint-6").is_dir()


def test_half_a_checkpoint_is_refused(train: Callable[..., Any]) -> None:
    from studio.tasks.failures import TaskError

    train("run", stop_at=4)
    checkpoint = train("run", stop_at=4).folder.path / "checkpoint-4"
    file = checkpoint / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(TaskError, match=r"cannot go on from checkpoint-4: adapter_model.safetensors has"):
        train("run", resume_from="checkpoint-4")
    with pytest.raises(TaskError, match="it is not there"):
        train("run", resume_from="checkpoint-99")
