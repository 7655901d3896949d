"""Every variant of LoRA trains, is stored as an adapter that fits its base, merges to the same outputs, and resumes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.config.low_rank import Lora
from studio.tasks.methods.lora import peft_arguments

BASE = Lora().model_dump(exclude={"type"})
SHORT = {"optimisation": {"max_steps": 4, "lr_scheduler_type": "linear"}, "cadence": {"save_steps": 2}}
VARIANTS: dict[str, dict[str, Any]] = {
    "rslora": {"rslora": True, "rank": 4},
    "dora": {"dora": True, "rank": 4},
    "patterns": {
        "rank": 4, "target_modules": ["q_proj", "mlp.up_proj"], "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {"layers.1.mlp.up_proj": 16},
    },
    "layers": {"rank": 4, "layers": [1], "bias": "lora_only"},
    "gaussian": {"rank": 4, "start": "gaussian", "modules_to_save": ["lm_head"]},
    "orthogonal": {"rank": 4, "start": "orthogonal"},
    "pissa": {"rank": 4, "start": "pissa"},
    "pissa_niter_16": {"rank": 4, "start": "pissa_niter_16", "rslora": True, "rank_pattern": {"q_proj": 2}},
    "olora": {"rank": 4, "start": "olora", "dora": True},
    "eva": {"rank": 4, "start": "eva"},
    "loraplus": {"rank": 4, "loraplus_ratio": 4.0},
    "freeze_a": {"rank": 4, "freeze_a": True},
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 4}, {"alpha": 5}, {"dropout": 0.1}, {"target_modules": ["q_proj"]}, {"modules_to_save": ["lm_head"]},
        {"start": "gaussian"}, {"start": "orthogonal"}, {"rslora": True}, {"dora": True}, {"bias": "all"},
        {"rank_pattern": {"q_proj": 2}}, {"alpha_pattern": {"q_proj": 2}},
    ],
    ids=lambda change: "-".join(change),
)  # fmt: skip
def test_the_library_gets_what_the_setting_says(change: dict[str, Any]) -> None:
    assert peft_arguments({**BASE, **change}, "CAUSAL_LM") != peft_arguments(BASE, "CAUSAL_LM")


def test_a_single_entry_that_is_no_plain_name_is_a_regular_expression() -> None:
    for given, taken in (
        ("all-linear", "all-linear"),
        (["q_proj"], ["q_proj"]),
        (["self_attn.q_proj", "up_proj"], ["self_attn.q_proj", "up_proj"]),
        ([r".*layers\.[01]\..*_proj"], r".*layers\.[01]\..*_proj"),
    ):
        assert peft_arguments({**BASE, "target_modules": given}, "CAUSAL_LM")["target_modules"] == taken


def logits(model: Any) -> Any:
    """What a model says to some tokens."""
    import torch

    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(3, 35)[None]).logits


def base_of(workspace: Path) -> Any:
    """The tiny model as it was before every training."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(workspace / "models" / "tiny", dtype=torch.float32)


@pytest.fixture
def trained_logits(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the trained models of this test said when their training was over, in the order of the runs."""
    from studio.tasks import train as task

    seen: list[Any] = []
    save = task._save

    def watched(trainer: Any, *rest: Any) -> None:
        seen.append(logits(trainer.model))
        save(trainer, *rest)

    monkeypatch.setattr(task, "_save", watched)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_the_saved_adapter_on_the_base_is_the_trained_model(
    train: Callable[..., Any], workspace: Path, name: str, trained_logits: list[Any], tmp_path: Path
) -> None:
    import torch

    from studio.runs.export_subject import Subject
    from studio.tasks.adapter import load
    from studio.tasks.exporting.lora import NotStreamable
    from studio.tasks.exporting.merge import merge_with_peft, open_merge

    changes = {"method": VARIANTS[name], **SHORT}
    whole = train("whole", changes)
    assert whole.losses[-1] < whole.losses[0]
    beside = logits(load(base_of(workspace), whole.folder.path))
    torch.testing.assert_close(beside, trained_logits[0], atol=2e-4, rtol=1e-4)

    base = workspace / "models" / "tiny"
    try:
        merging = open_merge(base, [whole.folder.path], "auto", "cpu")
        merged = base_of(workspace)
        merged.load_state_dict({output.name: merging.load(output.name) for output in merging.outputs}, strict=False)
        if merging.untied:
            raise NotStreamable("two embeddings")
    except NotStreamable:
        merge_with_peft(Subject("tiny", base, (whole.folder.path,), base, "auto"), tmp_path / "merged", "auto", "cpu")
        from transformers import AutoModelForCausalLM

        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(merged), trained_logits[0], atol=2e-4, rtol=1e-4)

    shutil.copytree(whole.folder.path / "checkpoint-2", workspace / "saves" / "again" / "checkpoint-2")
    again = train("again", changes, resume_from="checkpoint-2")
    assert again.losses == pytest.approx(whole.losses[2:], abs=2e-5)


@pytest.mark.slow
def test_what_the_settings_train(train: Callable[..., Any]) -> None:
    import torch
    from safetensors.torch import load_file

    def adapter(name: str, **method: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        run = train(name, {"method": {"rank": 4, **method}, "optimisation": {"max_steps": 1}})
        config = json.loads((run.folder.path / "adapter_config.json").read_text(encoding="utf-8"))
        return load_file(run.folder.path / "adapter_model.safetensors"), config

    tensors, _ = adapter("pattern", target_modules=[r".*layers\.0\.mlp\.(up|down)_proj"])
    assert {key.split(".layers.")[1].rpartition(".lora_")[0] for key in tensors} == {"0.mlp.up_proj", "0.mlp.down_proj"}
    tensors, _ = adapter("layers", target_modules=["q_proj"], layers=[1])
    assert all(".layers.1.self_attn.q_proj." in key for key in tensors)
    assert len(tensors) == 2
    # A is what was drawn, B has moved.
    frozen, _ = adapter("frozen", freeze_a=True)
    other, _ = adapter("other", freeze_a=True, dropout=0.5)
    sides = [key for key in frozen if "lora_A" in key]
    assert sides and all(torch.equal(frozen[key], other[key]) for key in sides)
    assert any(not torch.equal(frozen[key], other[key]) for key in frozen if "lora_B" in key)
    taken, config = adapter("taken", start="pissa", target_modules=["q_proj"])
    assert (config["r"], config["lora_alpha"], config["init_lora_weights"]) == (8, 16, True)
    assert all(8 in value.shape for value in taken.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "says"),
    [
        ({"layers": [7]}, "no layer 7"),
        ({"rank_pattern": {"nonsense": 2}}, "No module with an adapter is named nonsense"),
        ({"target_modules": [".*nonsense"]}, "no modules named"),
        ({"target_modules": ["embed_tokens"], "start": "pissa"}, "embed_tokens is no matrix"),
    ],
)
def test_modules_that_are_not_there_are_named(train: Callable[..., Any], method: dict[str, Any], says: str) -> None:
    from studio.tasks.failures import TaskError

    with pytest.raises(TaskError, match=says):
        train("run", {"method": method})


@pytest.mark.slow
def test_loftq_begins_nearer_to_the_whole_weights(workspace: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from studio.config.model import BaseModelConfig
    from studio.config.quantization import FourBit
    from studio.tasks.arguments import model_arguments, quantization_arguments
    from studio.tasks.lora_start import make_up_for_four_bits
    from studio.tasks.machine import Machine
    from studio.tasks.model import load_model

    folder = str(workspace / "models" / "tiny")
    arguments = model_arguments(BaseModelConfig(path=folder), "float32")
    quantization = quantization_arguments(FourBit(), "fp32")
    model: Any = load_model(folder, arguments, quantization, Machine("cpu", bf16=True))
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    whole, before = logits(base_of(workspace)), logits(model)
    make_up_for_four_bits(model, folder)
    assert (logits(model) - whole).norm() < 0.7 * (before - whole).norm()


@pytest.mark.slow
def test_a_new_adapter_stands_on_those_that_are_merged_first(
    train: Callable[..., Any], workspace: Path, trained_logits: list[Any]
) -> None:
    import torch

    from studio.config.export import SubjectConfig
    from studio.config.workspace import Workspace
    from studio.runs.evaluation_subject import evaluation_of
    from studio.runs.export_subject import resolve
    from studio.runs.serving_subject import serving_of
    from studio.tasks.exporting.merge import open_merge

    first = train("first", {"method": {"rank": 4}, **SHORT})
    method = {"rank": 2, "create_new_adapter": True}
    second = train("second", {"method": method, "model": {"adapters": ["saves/first"]}, **SHORT})
    assert second.losses[0] < first.losses[0]
    place = Workspace(workspace)
    subject = resolve(place, SubjectConfig(run="saves/second"))
    assert [folder.name for folder in subject.adapters] == ["first", "second"]
    merging = open_merge(workspace / "models" / "tiny", subject.adapters, "auto", "cpu")
    merged = base_of(workspace)
    merged.load_state_dict({output.name: merging.load(output.name) for output in merging.outputs}, strict=False)
    torch.testing.assert_close(logits(merged), trained_logits[1], atol=2e-4, rtol=1e-4)
    evaluation, serving = evaluation_of(place, "saves/second"), serving_of(place, "saves/second")
    assert evaluation is not None and evaluation.candidates.merged == ["saves/first"]
    assert serving is not None and serving.serving.merged == ["saves/first"]
