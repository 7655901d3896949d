"""A job that fails says why in plain words, and what to do about it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.config.faults import ConfigError, Fault
from studio.data.examples import DataError
from studio.runs.folder import RunFolder
from studio.tasks.failures import TaskError, explain


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""


class SafetensorError(Exception):
    """Named as the library's own."""


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "gpu_memory", "GPU ran out of memory"),
        (RuntimeError("CUDA error: CUDA out of memory"), "gpu_memory", "per_device_train_batch_size"),
        (MemoryError(), "main_memory", "main memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "main_memory", "smaller model"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full", "disk is full"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "disk_full", "disk is full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/3"), "disk_full", "resume"),
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 7 vs 5"),
            "disk_full",
            "disk is full",
        ),
        (SafetensorError("Error while deserializing header"), "model", "weight file is damaged"),
        (DataError("row 17 of data/x.json: it has no 'output'."), "data", "row 17 of data/x.json"),
        (ModuleNotFoundError("No module named 'swanlab'", name="swanlab"), "package", "pip install swanlab"),
        (ImportError("FlashAttention2 has been toggled on"), "package", "model.attention=auto"),
        (
            TypeError("AdamW.__init__() got an unexpected keyword argument 'foo'"),
            "trainer",
            "AdamW has no argument 'foo'",
        ),
        (ValueError("'sgdx' is not a valid OptimizerNames, choose"), "trainer", "optimisation.optimizer"),
        (ValueError("contains custom code. Set trust_remote_code=True"), "model", "model.trust_remote_code=true"),
        (RuntimeError("size mismatch for lora_A.weight: copying"), "checkpoint", "do not fit the model"),
        (OSError("We couldn't connect to 'https://huggingface.co' to load"), "network", "HF_ENDPOINT"),
        (ConfigError([Fault("seed", "missing")]), "config", "seed: This setting is needed"),
        (KeyError("surprise"), "unexpected", "KeyError: 'surprise'"),
    ],
)
def test_causes_are_named(error: BaseException, kind: str, words: str) -> None:
    failure = explain(error)
    assert failure.kind == kind
    assert words in f"{failure.cause} {failure.advice}"


def test_the_cause_behind_another_error_is_found() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as inner:
            raise RuntimeError("saving failed") from inner
    except RuntimeError as outer:
        assert explain(outer).kind == "disk_full"


def fault(model_folder: Path, train: Callable[..., Any], *changes: dict[str, Any]) -> str:
    """What a run says that cannot work."""
    with pytest.raises((TaskError, DataError)) as caught:
        train("run", *changes)
    failure = explain(caught.value)
    return f"{failure.cause} {failure.advice}"


@pytest.fixture
def model(workspace: Path) -> Path:
    """The folder of the tiny model, to be spoilt."""
    return workspace / "models" / "tiny"


@pytest.mark.slow
class TestModelFolders:
    """Each way in which a model folder can be wrong has its own words."""

    def test_missing(self, model: Path, train: Callable[..., Any]) -> None:
        assert "There is no model folder models/none" in fault(model, train, {"model": {"path": "models/none"}})

    def test_no_model(self, model: Path, train: Callable[..., Any]) -> None:
        (model / "config.json").unlink()
        assert "holds no config.json" in fault(model, train)

    def test_a_truncated_weight_file(self, model: Path, train: Callable[..., Any]) -> None:
        file = model / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-10])
        words = fault(model, train)
        assert str(file) in words
        assert "is damaged: it has" in words

    def test_a_weight_file_of_rubbish(self, model: Path, train: Callable[..., Any]) -> None:
        (model / "model.safetensors").write_bytes(b"rubbish" * 100)
        assert "no valid header" in fault(model, train)

    def test_a_missing_shard(self, model: Path, train: Callable[..., Any]) -> None:
        index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
        (model / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
        assert "model-2.safetensors is missing" in fault(model, train)

    def test_only_pickled_weights(self, model: Path, train: Callable[..., Any]) -> None:
        (model / "model.safetensors").rename(model / "pytorch_model.bin")
        assert "only as pickle (pytorch_model.bin)" in fault(model, train)

    def test_weights_of_another_model(self, model: Path, train: Callable[..., Any]) -> None:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        (model / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}), encoding="utf-8")
        assert "of the weights that its config.json names" in fault(model, train)

    def test_no_tokenizer(self, model: Path, train: Callable[..., Any]) -> None:
        (model / "tokenizer.json").unlink()
        assert "tokenizer" in fault(model, train)

    def test_no_template(self, model: Path, train: Callable[..., Any]) -> None:
        for file in model.glob("chat_template*"):
            file.unlink()
        words = fault(model, train)
        assert "brings no chat template" in words
        assert "chatml" in words
        assert train("named", {"model": {"chat_template": "chatml"}}).code == 0


@pytest.mark.slow
class TestData:
    """What is wrong with the data is said before the model is loaded."""

    def test_unknown_dataset(self, model: Path, train: Callable[..., Any]) -> None:
        assert "Did you mean 'chat'" in fault(model, train, {"data": {"datasets": ["chad"]}})

    def test_a_bad_row(self, model: Path, train: Callable[..., Any], add_dataset: Callable[..., None]) -> None:
        add_dataset("bad", [{"instruction": "a", "output": "b"}, {"instruction": "a"}])
        words = fault(model, train, {"data": {"datasets": ["bad"]}})
        assert "row 2 of data/bad.json (line 1): it has no 'output'" in words

    def test_everything_masked(self, model: Path, train: Callable[..., Any]) -> None:
        words = fault(model, train, {"data": {"cutoff_len": 6}})
        assert "all tokens of all 8 rows are masked or cut off" in words

    def test_the_wrong_stage(self, model: Path, train: Callable[..., Any]) -> None:
        words = fault(model, train, {"data": {"datasets": ["plain"]}})
        assert "row 1 of data/plain.json: it is plain text" in words

    def test_cut_and_dropped_rows_are_counted(self, model: Path, train: Callable[..., Any]) -> None:
        notices = train("run", {"data": {"cutoff_len": 22}}).notices
        assert "rows are longer than data.cutoff_len=22 and were cut" in notices
        assert "have nothing to train on within the cutoff and are left out" in notices


@pytest.mark.slow
class TestMethods:
    """Adapters and layers that do not fit."""

    def test_no_adapter(self, model: Path, train: Callable[..., Any]) -> None:
        assert "There is no adapter in saves/none" in fault(model, train, {"model": {"adapters": ["saves/none"]}})

    def test_unknown_target_modules(self, model: Path, train: Callable[..., Any]) -> None:
        words = fault(model, train, {"method": {"target_modules": ["query"]}})
        assert "has no modules named ['query']" in words
        assert "q_proj" in words

    def test_unknown_extra_modules(self, model: Path, train: Callable[..., Any]) -> None:
        changes = {"method": {"type": "freeze", "extra_modules": ["nothing"]}}
        assert "has no module 'nothing'" in fault(model, train, changes)

    def test_nothing_trained(self, model: Path, train: Callable[..., Any]) -> None:
        changes = {"method": {"type": "freeze", "trainable_layers": 0}}
        assert "Nothing of the model would be trained" in fault(model, train, changes)

    def test_several_adapters_on_quantized_weights(self, model: Path, train: Callable[..., Any]) -> None:
        train("a")
        changes = {"model": {"adapters": ["saves/a", "saves/a"]}, "quantization": {"type": "4bit"}}
        with pytest.raises(ConfigError, match="without rounding them once more"):
            train("b", changes)

    def test_a_package_that_is_not_installed(self, model: Path, train: Callable[..., Any]) -> None:
        words = fault(model, train, {"model": {"path": "owner/name", "hub": "modelscope"}})
        assert "pip install modelscope" in words


@pytest.mark.slow
def test_a_full_disk_is_named_and_leaves_room_for_saying_so(workspace: Path) -> None:
    """The disk is a tmpfs that takes the first checkpoint and not the second."""
    folder = RunFolder(workspace / "saves" / "run")
    folder.path.mkdir(parents=True)
    mounted = shutil.which("mount") and os.geteuid() == 0
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder.path]).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        check_full_disk(folder)
    finally:
        subprocess.run(["umount", "-l", folder.path], check=True)


def check_full_disk(folder: RunFolder) -> None:
    """Train until the disk is full."""
    from studio.tasks import entry
    from studio.tasks.status import Reporter
    from studio.tasks.stopping import StopFlag

    tree = {
        "model": {"path": "models/tiny"},
        "data": {"datasets": ["chat"]},
        "method": {"type": "full"},
        "optimisation": {"max_steps": 12, "precision": "fp32"},
        "cadence": {"save_steps": 3, "save_total_limit": None},
        "trackers": {"report_to": []},
        "devices": {"use": "cpu"},
    }
    folder.write_config(yaml.safe_dump(tree))
    reporter = Reporter(folder)
    with pytest.raises(Exception) as caught:
        entry.run_job(folder, reporter, StopFlag())
    entry.report_failure(folder, reporter, caught.value)
    failure = folder.status().failure
    assert failure is not None
    assert failure.kind == "disk_full"
