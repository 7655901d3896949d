"""What a worker may see: its devices and no others, no telemetry, and no secret on any page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studio.runs import cgroup
from studio.runs.devices import choose, inventory, machine_facts
from studio.runs.environment import is_secret, mask_secrets, worker_environment
from studio.runs.folder import RunFolder

if TYPE_CHECKING:
    from tests.runs.conftest import Bench

GPUS = ["cuda:0", "cuda:1", "cpu"]


@pytest.mark.parametrize(
    ("wanted", "present", "busy", "chosen"),
    [
        ("auto", GPUS, [], ("cuda:0",)),
        ("auto", GPUS, ["cuda:0"], ("cuda:1",)),
        ("auto", GPUS, ["cuda:0", "cuda:1"], ()),  # it waits for a GPU rather than crawl on the CPU
        ("auto", ["cpu"], [], ("cpu",)),
        ("auto", ["cpu"], ["cpu"], ()),
        ("cpu", GPUS, ["cuda:0"], ("cpu",)),
        ("cuda:0,cuda:1", GPUS, [], ("cuda:0", "cuda:1")),
        ("cuda:0,cuda:1", GPUS, ["cuda:1"], ()),
        ("cuda:5", GPUS, [], ()),
    ],
)
def test_choice_of_devices(wanted: str, present: list[str], busy: list[str], chosen: tuple[str, ...]) -> None:
    assert choose(wanted, present, busy) == chosen


def test_there_is_always_one_cpu_with_its_facts() -> None:
    cpu = [device for device in inventory() if device.name == "cpu"]
    facts = machine_facts()
    assert len(cpu) == 1
    assert cpu[0].total == facts.memory_total >= facts.memory_available > 0
    assert facts.cores >= 1
    assert 0 <= facts.load <= 100


def test_hidden_gpus_are_no_devices() -> None:
    assert [device.name for device in inventory({"CUDA_VISIBLE_DEVICES": ""})] == ["cpu"]


@pytest.mark.parametrize(
    ("membership", "folder", "events", "limit"),
    [
        ("0::/job\n", "job", ("memory.events", "low 0\noom 3\noom_kill 2\n"), ("memory.max", "4096\n")),
        ("0::/job\n", "", ("memory.events", "oom_kill 2\n"), ("memory.max", "4096\n")),  # a container's own view
        (
            "5:cpu,cpuacct:/\n4:memory:/job\n0::/\n",
            "memory/job",
            ("memory.oom_control", "under_oom 0\noom_kill 2\n"),
            ("memory.limit_in_bytes", "4096\n"),
        ),
    ],
)
def test_both_generations_of_control_groups_are_read(
    tmp_path: Path, membership: str, folder: str, events: tuple[str, str], limit: tuple[str, str]
) -> None:
    (tmp_path / "self").write_text(membership)
    root = tmp_path / "cgroup"
    (root / folder).mkdir(parents=True)
    for name, text in (events, limit):
        (root / folder / name).write_text(text)
    assert cgroup.oom_kills(root, tmp_path / "self") == 2
    assert cgroup.memory_limit(root, tmp_path / "self") == 4096


def test_without_control_groups_nothing_is_claimed(tmp_path: Path) -> None:
    assert cgroup.oom_kills(tmp_path, tmp_path / "none") is None
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(str(2**63 - 4096))
    (tmp_path / "self").write_text("4:memory:/\n")
    assert cgroup.memory_limit(tmp_path, tmp_path / "self") is None


def test_a_worker_sees_its_gpus_and_its_folder(tmp_path: Path) -> None:
    env = worker_environment({"A": "b", "CUDA_VISIBLE_DEVICES": "7"}, ("cuda:1", "cuda:3"), RunFolder(tmp_path))
    assert env["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert env["TENSORBOARD_LOGGING_DIR"] == str(tmp_path / "runs")
    assert (env["A"], env["PYTHONUNBUFFERED"], env["TOKENIZERS_PARALLELISM"]) == ("b", "1", "false")
    assert worker_environment({}, ("cpu",), RunFolder(tmp_path))["CUDA_VISIBLE_DEVICES"] == ""


def test_telemetry_is_off_by_the_libraries_own_reading(tmp_path: Path) -> None:
    env = worker_environment({"PATH": "/usr/bin"}, ("cpu",), RunFolder(tmp_path))
    code = "from huggingface_hub import constants; assert constants.HF_HUB_DISABLE_TELEMETRY is True"
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    assert env["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_the_worker_really_gets_that_environment(bench: Bench, tmp_path: Path) -> None:
    show = tmp_path / "show.py"
    names = ("HF_HUB_DISABLE_TELEMETRY", "STUDIO_RUN_FOLDER")
    show.write_text(f"import os\nprint({{name: os.environ.get(name) for name in {names}}})\n")
    bench.supervisor.worker = (sys.executable, str(show))
    bench.submit()
    bench.ended()
    expected = {"HF_HUB_DISABLE_TELEMETRY": "1", "STUDIO_RUN_FOLDER": str(bench.folder().path)}
    assert str(expected) in bench.folder().log_tail()


@pytest.mark.parametrize("name", ["HF_TOKEN", "WANDB_API_KEY", "MY_SECRET", "db_password", "X_KEY", "STUDIO_PASSWORD"])
def test_secret_names(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["PATH", "TOKENIZERS_PARALLELISM", "KEYBOARD", "HF_HOME", "MONKEY"])
def test_harmless_names(name: str) -> None:
    assert not is_secret(name)


def test_secrets_are_masked_whole() -> None:
    env = {"HF_TOKEN": "hf_abcdef", "OTHER_KEY": "hf_abcdefghij", "EMPTY_TOKEN": "", "SHORT_KEY": "1", "HOME": "/root"}
    assert mask_secrets("a hf_abcdefghij b hf_abcdef c 1 /root", env) == "a *** b *** c 1 /root"
