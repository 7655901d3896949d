"""Finished runs with adapters of many kinds beside the tiny model, and exports of them."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.config.export import ExportConfig
from studio.config.io import dump, parse
from studio.runs.engines import MARK
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec

RUN = {"model": {"path": "models/tiny"}, "data": {"datasets": ["chat"]}}
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

ENGINES = Path(os.environ.get("STUDIO_TEST_ENGINES", "/nonexistent"))
"""A folder with installed engines, for the tests that need them; without it they are left out."""

AddRun = Callable[..., Path]
Export = Callable[..., RunFolder]


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """What a job sets in the environment of this process ends with the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def add_run(workspace: Path) -> AddRun:
    """A function (name, base="models/tiny", dtype="float32", **settings of LoraConfig) that makes a finished run.

    Its adapter has random weights in all parts, so that nothing that is left out goes unseen.
    """

    def call(name: str, base: str = "models/tiny", dtype: str = "float32", **settings: Any) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        torch.manual_seed(len(name))
        model = AutoModelForCausalLM.from_pretrained(workspace / base, dtype=getattr(torch, dtype))
        options = {"r": 4, "lora_alpha": 12, "target_modules": LINEAR, "task_type": "CAUSAL_LM", **settings}
        tuned = get_peft_model(model, LoraConfig(**options))
        with torch.no_grad():
            for key, parameter in tuned.named_parameters():
                if parameter.requires_grad:
                    noise = torch.randn_like(parameter) * 0.05
                    parameter.copy_(parameter + noise if "magnitude" in key or "lora_" not in key else noise)
        folder = workspace / "saves" / name
        tuned.save_pretrained(folder)
        add_config(folder, {**RUN, "model": {"path": base}}, workspace / base)
        return folder

    return call


def add_config(folder: Path, tree: Mapping[str, Any], tokenizer: Path) -> None:
    """What a training run leaves beside its weights."""
    (folder / "config.yaml").write_text(yaml.safe_dump(parse(tree).model_dump(mode="json")), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)


@pytest.fixture
def export(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    """A function (name, tree) that exports inside this process and returns the job's folder.

    The parts that a job starts as processes of their own run here too, so that torch is imported once;
    test_jobs.py has them in fresh processes.
    """
    from studio.tasks import export as task
    from studio.tasks.exporting import bitsandbytes_saved, hub, verification
    from studio.tasks.status import Reporter
    from studio.tasks.stopping import StopFlag

    def part(module: str, request: Mapping[str, Any], folder: Path, *, online: bool = False) -> dict[str, Any]:
        return importlib.import_module(module).run(json.loads(json.dumps(request)))

    monkeypatch.setattr(verification, "call_part", part)
    monkeypatch.setattr(bitsandbytes_saved, "call_part", part)
    monkeypatch.setattr(hub.children, "call_part", part)

    def call(name: str, tree: Mapping[str, Any]) -> RunFolder:
        folder, config = make_job(workspace, name, tree)
        task.run(folder, folder.job(), config, Reporter(folder), StopFlag())
        return folder

    return call


def make_job(workspace: Path, name: str, tree: Mapping[str, Any]) -> tuple[RunFolder, ExportConfig]:
    """A job's folder as submitting it makes it."""
    whole = {"name": name, "devices": {"use": "cpu", "cpu_threads": 1}, **tree}
    whole["verification"] = {
        "questions": ["Who are you?"],
        "answer_tokens": 8,
        "rows": 3,
        **whole.get("verification", {}),
    }
    config = parse(whole, ExportConfig)
    folder = RunFolder(workspace / "saves" / name)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_config(dump(config))
    folder.write_job(JobSpec(id=name, name=name, kind="export"))
    return folder, config


def use_engine(workspace: Path, name: str) -> None:
    """Make an installed engine known in the workspace, or skip the test."""
    if not (ENGINES / name / MARK).is_file():
        pytest.skip(f"set STUDIO_TEST_ENGINES to a folder with the engine {name}")
    (workspace / "engines").symlink_to(ENGINES)


def results(folder: RunFolder) -> dict[str, Any]:
    """What an export says of itself."""
    return json.loads((folder.path / "results.json").read_text(encoding="utf-8"))
