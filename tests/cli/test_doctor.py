"""`studio doctor`: one line for each thing that runs need, and the fix under each that is wrong."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.cli import doctor
from studio.config.workspace import Workspace
from tests.cli.conftest import Terminal


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question about torch takes ten seconds and has a test of its own."""
    monkeypatch.setattr(doctor, "_torch", lambda: iter(()))


def faults(said: str) -> dict[str, tuple[str, str]]:
    """What was found and the fix, by the name of each finding that has one."""
    found = re.findall(r"^✕ (\S+)\s+(.*)\n  fix: (.+)$", said, re.MULTILINE)
    assert len(found) == said.count("✕"), f"a fault without a fix:\n{said}"
    return {name: (what, fix) for name, what, fix in found}


def test_every_fault_has_its_fix_and_the_exit_code_says_so(studio: Terminal, taken: int, without_torch: None) -> None:
    (studio.root / "dataset_info.json").unlink()
    saves = studio.root / "saves"
    saves.rename(studio.root / "elsewhere")
    saves.write_text("", encoding="utf-8")
    code, said, _ = studio("doctor", "--port", str(taken))
    found = faults(said)
    assert code == 1
    assert f"studio webui --port {taken + 1}" in found["port"][1]
    assert found["workspace"][0] == "no dataset_info.json"
    assert str(studio.root / "dataset_info.json") in found["workspace"][1]
    assert found["saves"] == (f"{saves} is a file, not a folder", f"rename it: mv {saves} {saves}.old")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_has_its_fix(studio: Terminal, without_torch: None) -> None:
    saves = studio.root / "saves"
    saves.chmod(0o500)
    try:
        code, said, _ = studio("doctor")
    finally:
        saves.chmod(0o700)
    assert code == 1
    assert f"chown -R $USER {saves}" in faults(said)["saves"][1]


def test_a_full_disk_has_its_fix(studio: Terminal, without_torch: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 2**60)
    code, said, _ = studio("doctor")
    assert code == 1
    assert "free some space on the disk of" in faults(said)["disk"][1]


def test_a_missing_package_has_its_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "_PACKAGES", ("gradio", "nonesuch"))
    monkeypatch.setattr(doctor, "_torch", lambda: iter(()))
    found = {one.what: one for one in doctor.examine(Workspace(tmp_path), 0)}
    assert found["nonesuch"].fix == "pip install -c constraints.txt nonesuch"
    assert found["packages"].found.startswith("gradio ")


@pytest.mark.parametrize(
    ("found", "has_gpu", "fix"),
    [
        ({"cuda_build": None, "cuda": False}, True, "pip install --force-reinstall -c constraints.txt torch"),
        ({"cuda_build": "12.8", "cuda": False}, True, "update the NVIDIA driver"),
        ({"cuda_build": "12.8", "cuda": True}, True, ""),
        ({"cuda_build": None, "cuda": False}, False, ""),
    ],
)
def test_a_torch_that_does_not_fit_the_machine_has_its_fix(
    found: dict[str, object], has_gpu: bool, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # no nvidia-smi either
    finding = doctor._torch_build({"version": "2.13.0", "processor": "AVX2", **found}, has_gpu)
    assert (fix in finding.fix) if fix else finding.fix == ""


@pytest.mark.slow
def test_this_machine_is_examined_to_the_end(studio: Terminal) -> None:
    code, said, _ = studio("doctor", "--port", "0")
    assert code == int("✕" in said)
    faults(said)
    for name in ("Python", "machine", "packages", "torch", "bitsandbytes", "disk", "workspace", "saves", "port"):
        assert re.search(rf"^[✓✕] {name} ", said, re.MULTILINE), name
    assert not (studio.root / "saves" / ".doctor").exists()
