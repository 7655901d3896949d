"""A checkpoint counts only when it is whole: every way of cutting one is noticed and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.runs.checkpoints import checkpoints, newest_complete
from studio.runs.folder import RunFolder

Make = Callable[[Path, int], None]


@pytest.fixture
def run(tmp_path: Path, make_checkpoint: Make) -> RunFolder:
    """A run with two complete checkpoints."""
    folder = RunFolder(tmp_path)
    for step in (5, 10):
        make_checkpoint(folder.checkpoint(step), step)
    return folder


def test_complete_ones_are_found_in_the_order_of_steps(run: RunFolder, make_checkpoint: Make) -> None:
    make_checkpoint(run.checkpoint(100), 100)
    (run.path / "checkpoint-x").mkdir()
    (run.path / "checkpoint-7").write_text("a file")
    assert [(entry.step, entry.complete, entry.reason) for entry in checkpoints(run)] == [
        (5, True, ""),
        (10, True, ""),
        (100, True, ""),
    ]
    assert all(entry.size > 100 for entry in checkpoints(run))


def test_no_run_no_checkpoints(tmp_path: Path) -> None:
    assert checkpoints(RunFolder(tmp_path / "none")) == []
    assert newest_complete(RunFolder(tmp_path)) is None


FILES = ["adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]


@pytest.mark.parametrize("name", FILES)
def test_every_cut_of_every_file_is_noticed(run: RunFolder, name: str) -> None:
    file = run.checkpoint(10) / name
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        newest = newest_complete(run)
        assert newest is not None and newest.step == 5, f"{name} cut at byte {length} was not noticed"
    assert name in checkpoints(run)[1].reason
    file.write_bytes(whole)
    assert checkpoints(run)[1].complete


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt", "trainer_state.json"])
def test_a_missing_file_is_named(run: RunFolder, name: str) -> None:
    (run.checkpoint(10) / name).unlink()
    entry = checkpoints(run)[1]
    assert not entry.complete
    assert name.partition(".")[2] in entry.reason


def test_a_longer_file_and_a_damaged_header_are_noticed(run: RunFolder) -> None:
    file = run.checkpoint(10) / "adapter_model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole + b"\0")
    assert "should have" in checkpoints(run)[1].reason
    file.write_bytes(whole.replace(b'"data_offsets": [0, 8]', b'"data_offsets": [0, "]'))
    assert "header" in checkpoints(run)[1].reason
    file.write_bytes(b"\xff" * 8 + whole[8:])
    assert "cut off in its header" in checkpoints(run)[1].reason


def test_every_shard_of_an_index_must_be_there(run: RunFolder) -> None:
    folder = run.checkpoint(10)
    shard = "model-00001-of-00002.safetensors"
    (folder / "adapter_model.safetensors").rename(folder / shard)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": shard, "v": "model-00002-of-00002.safetensors"}}))
    assert "model-00002-of-00002.safetensors is missing" in checkpoints(run)[1].reason
    index.write_text(json.dumps({"weight_map": {"w": shard}}))
    assert checkpoints(run)[1].complete
    index.write_text('{"weight_map": {')
    assert "index.json is cut off" in checkpoints(run)[1].reason


def test_the_trainers_own_mark_is_believed(run: RunFolder) -> None:
    (run.checkpoint(10) / "checkpoint-is-incomplete.txt").touch()
    assert "marked" in checkpoints(run)[1].reason
