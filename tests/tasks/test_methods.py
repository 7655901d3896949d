"""What is trained is what the method says, and what is saved can be loaded and gone on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def weights(folder: Path, name: str = "model.safetensors") -> dict[str, Any]:
    """The tensors of a saved model or adapter."""
    from safetensors.torch import load_file

    return load_file(folder / name)


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Names of tensors that are no longer equal."""
    import torch

    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name].float(), after[name].float())}


@pytest.mark.parametrize(
    ("method", "moved"),
    [
        ({"trainable_layers": 1}, {"model.layers.1"}),
        ({"trainable_layers": -1}, {"model.layers.0"}),
        ({"trainable_layers": 0, "extra_modules": ["lm_head"]}, {"lm_head.weight"}),
        ({"trainable_layers": 1, "extra_modules": ["embed_tokens"]}, {"model.layers.1", "model.embed_tokens.weight"}),
    ],
)
def test_freezing_moves_the_chosen_layers_alone(
    train: Callable[..., Any], workspace: Path, method: dict[str, Any], moved: set[str]
) -> None:
    run = train("run", {"method": {"type": "freeze", **method}})
    names = changed(weights(workspace / "models" / "tiny"), weights(run.folder.path))
    assert {name if not name.startswith("model.layers") else name[:14] for name in names} == moved


def test_full_training_moves_everything(train: Callable[..., Any], workspace: Path) -> None:
    run = train("run", {"method": {"type": "full"}})
    before = weights(workspace / "models" / "tiny")
    assert changed(before, weights(run.folder.path)) == set(before)
    assert run.folder.status().parameters["trainable"] == run.folder.status().parameters["total"]
    assert run.folder.status().dtypes == {"float32": run.folder.status().parameters["total"]}


@pytest.mark.parametrize("name", ["lm_head", "embed_tokens"])
def test_modules_to_save_are_trained_and_saved(train: Callable[..., Any], workspace: Path, name: str) -> None:
    import torch

    run = train("run", {"method": {"target_modules": ["q_proj"], "modules_to_save": [name]}})
    adapter = weights(run.folder.path, "adapter_model.safetensors")
    key = next(key for key in adapter if key.endswith(f"{name}.weight"))
    base = weights(workspace / "models" / "tiny")
    old = next(value for key, value in base.items() if key.endswith(f"{name}.weight"))
    assert not torch.equal(adapter[key], old)
    assert sum("lora_" in key for key in adapter) == 4


def test_an_adapter_has_the_rank_and_strength_that_were_asked_for(train: Callable[..., Any]) -> None:
    run = train("run", {"method": {"rank": 4, "target_modules": ["q_proj", "v_proj"]}})
    saved = json.loads((run.folder.path / "adapter_config.json").read_text(encoding="utf-8"))
    assert (saved["r"], saved["lora_alpha"], sorted(saved["target_modules"])) == (4, 8, ["q_proj", "v_proj"])


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_parameters_of_quantized_weights_are_counted_as_what_they_stand_for(
    train: Callable[..., Any], bits: str
) -> None:
    plain = train("plain").folder.status()
    quantized = train("quantized", {"quantization": {"type": bits}}).folder.status()
    assert quantized.parameters == plain.parameters
    assert {"4bit": "4-bit nf4", "8bit": "int8"}[bits] in quantized.dtypes
    # Adapters stay in float32, where small updates are not rounded away.
    assert quantized.dtypes["float32"] >= quantized.parameters["trainable"]


def test_a_continued_adapter_starts_where_it_ended(train: Callable[..., Any]) -> None:
    first = train("first", {"optimisation": {"max_steps": 24}})
    second = train("second", {"model": {"adapters": ["saves/first"]}, "method": {"rank": 2}})
    assert second.losses[0] < first.losses[0] - 0.3
    assert second.losses[0] == pytest.approx(first.losses[-1], abs=0.5)
    assert "keeps its own rank 16 and alpha 32" in second.notices


def test_earlier_adapters_are_merged_before_the_last_is_continued(train: Callable[..., Any]) -> None:
    first = train("first", {"optimisation": {"max_steps": 24}})
    train("second", {"model": {"adapters": ["saves/first"]}, "optimisation": {"max_steps": 1, "learning_rate": 1e-9}})
    # The second adapter is nearly the first, so with the first merged the change counts twice.
    both = train("both", {"model": {"adapters": ["saves/first", "saves/second"]}})
    assert both.losses[0] != pytest.approx(first.losses[0], abs=0.1)
    once = train("once", {"model": {"adapters": ["saves/second"]}})
    assert both.losses[0] != pytest.approx(once.losses[0], abs=1e-3)


@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn", "llama3"])
def test_positions_are_stretched(train: Callable[..., Any], kind: str) -> None:
    run = train(
        "run",
        {
            "method": {"type": "full"},
            "model": {"path": "models/tiny", "rope_scaling": kind, "rope_factor": 4},
            "optimisation": {"max_steps": 2},
        },
    )
    saved = json.loads((run.folder.path / "config.json").read_text(encoding="utf-8"))
    assert (saved["rope_parameters"]["rope_type"], saved["rope_parameters"]["factor"]) == (kind, 4)
    assert saved["max_position_embeddings"] == 1024


def test_a_saved_tokenizer_carries_the_template_of_the_run(train: Callable[..., Any]) -> None:
    from transformers import AutoTokenizer

    from studio.tasks.templates import read_template

    run = train("run", {"model": {"path": "models/tiny", "chat_template": "zephyr"}, "optimisation": {"max_steps": 1}})
    assert AutoTokenizer.from_pretrained(run.folder.path).chat_template == read_template("zephyr")


@pytest.mark.parametrize(
    "changes",
    [
        {"neftune_noise_alpha": 5},
        {"optimizer": "adamw_8bit"},
        {"optimizer": "sgd", "optimizer_arguments": {"momentum": 0.9}, "learning_rate": 0.1},
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}},
        {"gradient_checkpointing": "on"},
        {"max_grad_norm": 0},
        {"weight_decay": 0.1, "warmup_steps": 3},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_settings_of_the_optimisation_run(train: Callable[..., Any], changes: dict[str, Any]) -> None:
    run = train("run", {"optimisation": {**changes, "max_steps": 3}})
    assert run.code == 0
    assert len(run.losses) == 3


def test_gradient_checkpointing_leaves_the_losses_unchanged(train: Callable[..., Any]) -> None:
    on = train("on", {"optimisation": {"gradient_checkpointing": "on"}})
    assert on.losses == pytest.approx(train("off").losses, abs=1e-5)


def test_a_loss_that_is_not_finite_is_an_event(train: Callable[..., Any], workspace: Path) -> None:
    from safetensors.torch import save_file

    from studio.runs.metrics import MetricsLog

    folder = workspace / "models" / "tiny"
    tensors = weights(folder)
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    run = train("run")
    log = MetricsLog(run.folder.metrics_file)
    log.poll()
    assert {event["key"] for event in log.events if event["event"] == "non_finite"} >= {"loss", "grad_norm"}
    assert run.notices.count("loss became nan at step 1.") == 1
