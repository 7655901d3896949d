"""A BitLoRA adapter is exported with the values that it shows, and refused where no weights can hold what it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.config.export import ExportConfig
from studio.config.io import parse
from studio.config.workspace import Workspace
from studio.runs.export_prospect import look_ahead
from studio.tasks.failures import TaskError
from tests.export.conftest import LINEAR, RUN, Export, add_config, results

pytestmark = pytest.mark.slow

SUBJECT = {"subject": {"run": "saves/run"}}


def add_bit_run(workspace: Path, **settings: Any) -> Path:
    """A finished run whose BitLoRA adapter has random weights in both matrices."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from studio.tasks.bitlora import BitLoraConfig, hold_to_bits

    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_pretrained(workspace / "models/tiny")
    config = BitLoraConfig(r=4, lora_alpha=12, target_modules=LINEAR, task_type="CAUSAL_LM", **settings)
    tuned = get_peft_model(model, config)
    hold_to_bits(tuned)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.05)
    folder = workspace / "saves/run"
    tuned.save_pretrained(folder)
    add_config(folder, RUN, workspace / "models/tiny")
    return folder


@pytest.mark.parametrize("bits", ["1", "1.58"])
def test_merged_and_alone_it_is_the_tuned_model(workspace: Path, export: Export, bits: str) -> None:
    """The comparison of an export holds it against the adapter beside its base, as it was trained."""
    from safetensors.torch import load_file

    add_bit_run(workspace, bits=bits)
    merged = results(export("merged", {**SUBJECT, "format": {"type": "merged", "dtype": "float32"}}))
    assert merged["verdict"] == "good" and merged["comparison"]["difference"] < 1e-4
    job = export("alone", {**SUBJECT, "format": {"type": "adapter"}})
    assert results(job)["comparison"]["difference"] < 1e-5
    assert "plain LoRA adapter" in "\n".join(job.status().notices)
    place = workspace / "exports/alone"
    settings = json.loads((place / "adapter_config.json").read_text())
    assert "bitlora" not in settings and settings["init_lora_weights"] is True
    tensors = load_file(place / "adapter_model.safetensors")
    assert all(tensor.abs().unique().numel() <= (1 if bits == "1" else 2) for tensor in tensors.values())


@pytest.mark.parametrize("kind", ["merged", "adapter", "gguf"])
def test_with_quantized_activations_the_wizard_and_the_job_say_why_not(
    workspace: Path, export: Export, kind: str
) -> None:
    add_bit_run(workspace, quantize_activations=True)
    tree = {**SUBJECT, "format": {"type": kind}}
    found = look_ahead(Workspace(workspace), parse({"name": "out", **tree}, ExportConfig), "out").findings
    said = [finding.said for finding in found if finding.severity == "fault"]
    assert len(said) == 1 and "can be neither merged nor written as a plain LoRA" in said[0]
    with pytest.raises(TaskError, match="neither merged nor written as a plain LoRA"):
        export("out", tree)


def test_vllm_would_misread_it_and_gets_the_export_instead(
    workspace: Path, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.config.serve import ServeConfig
    from studio.tasks.serving import outside

    monkeypatch.setattr(outside, "interpreter", lambda workspace, engine: Path("python"))
    add_bit_run(workspace)
    export("alone", {**SUBJECT, "format": {"type": "adapter"}})
    tree = {"model": {"path": "models/tiny"}, "engine": {"type": "vllm"}}

    def words(adapter: str) -> list[str]:
        config = parse({**tree, "serving": {"adapters": [adapter]}}, ServeConfig)
        return outside.command(config, Workspace(workspace), 1)

    with pytest.raises(TaskError, match=r"BitLoRA adapter, which vLLM does not know.*format\.type=adapter"):
        words("saves/run")
    assert f"alone={workspace / 'exports/alone'}" in words("exports/alone")
