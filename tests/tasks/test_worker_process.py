"""The worker as its own process: exit codes, signals, files, and no word to anybody outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.config.io import parse
from studio.runs.folder import RunFolder
from studio.runs.metrics import MetricsLog
from studio.runs.records import JobSpec

pytestmark = pytest.mark.slow

DEADLINE_SECONDS = 120

# Runs the worker under an audit hook that notes every attempt to reach another machine.
GUARD = """
import runpy, sys
log = open(sys.argv.pop(1), "a", buffering=1)
def note(event, args):
    if event == "socket.getaddrinfo" or (event == "socket.connect" and isinstance(args[1], tuple)):
        log.write(f"{event} {args!r}\\n")
sys.addaudithook(note)
sys.argv[0] = "studio.tasks.entry"
runpy.run_module("studio.tasks.entry", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def launch(workspace: Path) -> Callable[..., tuple[subprocess.Popen[bytes], RunFolder]]:
    """A function (tree) that starts a worker on a new run folder; its output goes to log.txt."""

    def call(tree: dict[str, Any]) -> tuple[subprocess.Popen[bytes], RunFolder]:
        folder = RunFolder(workspace / "saves" / "run")
        folder.path.mkdir(parents=True)
        folder.write_config(yaml.safe_dump(parse(tree).model_dump(mode="json")))
        folder.write_job(JobSpec(name="run", kind="train"))
        sockets = workspace / "sockets.txt"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        root = str(Path(__file__).parents[2])
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": root}
        with folder.log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", GUARD, str(sockets), str(folder.path)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=workspace,
                env=environment,
            )
        return process, folder

    return call


def tree(**changes: Any) -> dict[str, Any]:
    """The config of a short run on the tiny model."""
    return {
        "model": {"path": "models/tiny"},
        "data": {"datasets": ["turns"]},
        "optimisation": {"max_steps": 4, "per_device_train_batch_size": 2},
        "devices": {"use": "cpu"},
        **changes,
    }


def wait_for(fact: Callable[[], Any], process: subprocess.Popen[bytes]) -> Any:
    """The first true value of `fact`, or a failed test when the process ends or the time is up."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if value := fact():
            return value
        assert process.poll() is None, "the worker ended"
        time.sleep(0.02)
    raise AssertionError("the worker did not come so far in time")


def test_a_whole_run_leaves_its_files_and_reaches_nobody(launch: Callable[..., Any], workspace: Path) -> None:
    process, folder = launch(
        tree(
            samples={"prompts": ["Who are you?"], "max_new_tokens": 4},
            data={"datasets": ["turns"], "validation_size": 2},
        )
    )
    assert process.wait(DEADLINE_SECONDS) == 0, folder.log_tail()
    status = folder.status()
    assert (status.phase, status.step, status.total, status.failure) == ("finished", 4, 4, None)
    assert status.parameters["trainable"] < status.parameters["total"]
    assert sum(status.dtypes.values()) == status.parameters["total"]
    assert "parameters are trained" in folder.log_tail()
    names = {file.name for file in folder.path.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "samples.jsonl", "runs"} <= names
    assert {"checkpoint-4", "chat_template.jinja"} <= names
    assert not names & {"model.safetensors", "training_args.bin"}
    assert not (workspace / "sockets.txt").read_text(encoding="utf-8")
    check_metrics(folder)


def check_metrics(folder: RunFolder) -> None:
    """The rows hold what the board draws."""
    log = MetricsLog(folder.metrics_file)
    log.poll()
    assert log.corrupt == 0
    for key in ("loss", "grad_norm", "learning_rate", "tokens_per_second", "padding_share", "memory_process_peak"):
        steps, values = log.points(key)
        assert steps[:4] == [1, 2, 3, 4], key
        assert all(value >= 0 for value in values), key
    assert log.points("eval_loss")[0] == [4]
    assert [event["event"] for event in log.events] == ["checkpoint"]


def test_sigterm_while_training_stops_with_a_checkpoint(launch: Callable[..., Any]) -> None:
    process, folder = launch(tree(optimisation={"max_steps": 100_000}))
    wait_for(lambda: folder.status().phase == "training" and folder.status().step >= 3, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECONDS) == 10, folder.log_tail()
    assert folder.status().phase == "stopped"
    rows = [json.loads(line) for line in folder.metrics_file.read_text(encoding="utf-8").splitlines()]
    last = max(row["step"] for row in rows)
    assert (folder.path / f"checkpoint-{last}" / "trainer_state.json").is_file()
    assert rows[-1].get("event") == "checkpoint" or "train_runtime" in rows[-1]


def test_sigterm_before_the_training_ends_the_job(launch: Callable[..., Any]) -> None:
    process, folder = launch(tree())
    wait_for(lambda: folder.status().phase, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECONDS) == 10, folder.log_tail()
    assert folder.status().failure is None


def test_a_request_to_save_now_leaves_a_checkpoint_and_goes_on(launch: Callable[..., Any]) -> None:
    process, folder = launch(tree(optimisation={"max_steps": 100_000}))
    wait_for(lambda: folder.status().step >= 2, process)
    folder.write_request("save_now")
    first = wait_for(lambda: list(folder.path.glob("checkpoint-*/trainer_state.json")), process)
    step = folder.status().step
    wait_for(lambda: folder.status().step > step, process)
    folder.write_request("stop")
    assert process.wait(DEADLINE_SECONDS) == 10, folder.log_tail()
    assert len(list(folder.path.glob("checkpoint-*"))) == len(first) + 1


def test_a_failure_is_an_exit_code_a_cause_and_a_traceback(launch: Callable[..., Any]) -> None:
    process, folder = launch(tree(data={"datasets": ["chta"]}))
    assert process.wait(DEADLINE_SECONDS) == 1
    failure = folder.status().failure
    assert failure is not None
    assert "Did you mean 'chat'" in failure.cause
    assert "Traceback" in folder.log_tail()
