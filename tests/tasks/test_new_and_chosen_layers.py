"""LLaMA Pro adds layers that change nothing at first; freezing trains chosen modules of chosen layers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PRO = {"method": {"type": "llama-pro", "new_layers": 2}, "optimisation": {"learning_rate": 5e-3}}


def tiny(workspace: Path) -> Any:
    """The tiny model."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(workspace / "models" / "tiny").eval()


def outputs(model: Any) -> Any:
    """Logits of a fixed row."""
    import torch

    with torch.no_grad():
        return model(input_ids=torch.arange(3, 60)[None]).logits


def expanded(model: Any, new_layers: int) -> Any:
    """The model as the worker expands it."""
    from studio.config.workspace import Workspace
    from studio.tasks.methods.llama_pro import apply

    return apply(
        model, {"settings": {"new_layers": new_layers}, "task": "CAUSAL_LM"}, Workspace(Path()), lambda text: None
    )


def small(family: str, layers: int = 4) -> Any:
    """A random model of a family, with layers that differ from each other where the family has such."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": layers}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    more = {
        "gemma2": {"head_dim": 8, "sliding_window": 4},
        "gpt2": {"n_embd": 32, "n_layer": layers, "n_head": 4},
        "smollm3": {"no_rope_layers": [1, 1, 1, 0][:layers], "pad_token_id": 0},
    }
    own = more.get(family, {})
    config = AutoConfig.for_model(family, **({} if family == "gpt2" else shape | heads), **own)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2", "smollm3", "gpt2"])
@pytest.mark.parametrize("new_layers", [1, 2])
def test_new_layers_change_nothing_at_first_and_load_with_plain_transformers(
    tmp_path: Path, family: str, new_layers: int
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = small(family)
    wanted = outputs(model)
    model = expanded(model, new_layers)
    assert torch.equal(outputs(model), wanted)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained and model.config.num_hidden_layers == 4 + new_layers
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    assert not torch.allclose(outputs(model), wanted, atol=1e-3)
    model.save_pretrained(tmp_path / family)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / family).eval()
    assert torch.equal(outputs(again), outputs(model))
    first, second = (each.generate(torch.arange(5)[None], max_new_tokens=5, do_sample=False) for each in (model, again))
    assert torch.equal(first, second)


def test_kinds_of_layers_follow_their_copies() -> None:
    model = expanded(small("smollm3"), 2)
    assert model.config.no_rope_layers == [1, 1, 1, 1, 0, 0]
    assert [bool(layer.self_attn.use_rope) for layer in model.model.layers] == [True, True, True, True, False, False]
    assert [layer.self_attn.layer_idx for layer in model.model.layers] == list(range(6))


def test_the_new_layers_learn_and_the_others_stay(train: Callable[..., Any], workspace: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    whole = train("whole", PRO)
    broken = train("broken", PRO, stop_at=5)
    assert json.loads((broken.folder.path / "checkpoint-5" / "config.json").read_text())["num_hidden_layers"] == 4
    assert train("broken", PRO, resume_from="checkpoint-5").losses == pytest.approx(whole.losses, abs=1e-4)
    assert sum(whole.losses[-4:]) < sum(whole.losses[:4]) - 1
    assert whole.losses[0] == pytest.approx(train("base", {"optimisation": {"max_steps": 1}}).losses[0], abs=1e-4)
    before = load_file(workspace / "models" / "tiny" / "model.safetensors")
    model = AutoModelForCausalLM.from_pretrained(whole.folder.path)
    after = model.state_dict()
    places = {"model.layers.0.": "model.layers.0.", "model.layers.2.": "model.layers.1."}
    kept = {name: name for name in before if ".layers." not in name}
    for new, old in places.items():
        kept |= {new + name.removeprefix(old): name for name in before if name.startswith(old)}
    assert len(kept) == len(before)
    assert all(torch.equal(after[new], before[old]) for new, old in kept.items())
    for place in (1, 3):
        moved = [name for name in after if name.startswith(f"model.layers.{place}.") and after[name].abs().max() == 0]
        assert not moved, "a matrix of a new layer never moved"


def test_what_cannot_be_expanded_says_why(workspace: Path) -> None:
    from studio.tasks.failures import TaskError

    with pytest.raises(TaskError, match=r"3 new layers cannot be spread evenly over the 4 layers.*one of 1, 2, 4"):
        expanded(small("llama"), 3)


def changed(workspace: Path, folder: Path) -> set[str]:
    """Names of tensors that are no longer those of the tiny model."""
    import torch
    from safetensors.torch import load_file

    before, after = (load_file(place / "model.safetensors") for place in (workspace / "models" / "tiny", folder))
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("method", "moved"),
    [
        (
            {"trainable_layers": 1, "trainable_modules": ["mlp"]},
            {".1.mlp.gate_proj", ".1.mlp.up_proj", ".1.mlp.down_proj"},
        ),
        (
            {"trainable_layers": -1, "trainable_modules": ["q_proj", "self_attn.o_proj"], "extra_modules": ["norm"]},
            {".0.self_attn.q_proj", ".0.self_attn.o_proj", "model.norm"},
        ),
    ],
)
def test_chosen_modules_of_chosen_layers_are_trained(
    train: Callable[..., Any], workspace: Path, method: dict[str, Any], moved: set[str]
) -> None:
    run = train("run", {"method": {"type": "freeze", **method}, "optimisation": {"max_steps": 4}})
    names = changed(workspace, run.folder.path)
    assert {name.removeprefix("model.layers").removesuffix(".weight") for name in names} == moved


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            {"trainable_modules": ["mlpp"]},
            r"The trained layers have no module 'mlpp'. Set method.trainable_modules .*mlp",
        ),
        ({"trainable_modules": ["embed_tokens"]}, r"The trained layers have no module 'embed_tokens'"),
        ({"extra_modules": ["head"]}, r"The model has no module 'head'. Set method.extra_modules .*lm_head"),
        ({"trainable_layers": 3}, r"The model has 2 layers, and method.trainable_layers asks for 3"),
        ({"trainable_layers": 0}, r"Nothing of the model would be trained"),
    ],
)
def test_freezing_says_what_it_cannot_find(train: Callable[..., Any], method: dict[str, Any], said: str) -> None:
    from studio.tasks.failures import TaskError

    with pytest.raises(TaskError, match=said):
        train("run", {"method": {"type": "freeze", **method}})


@pytest.mark.parametrize("kind", ["llama_pro", "freeze"])
def test_the_new_head_of_a_reward_model_is_trained_along(workspace: Path, kind: str) -> None:
    import importlib

    from transformers import AutoModelForSequenceClassification

    from studio.config.method import Freeze, LlamaPro
    from studio.config.workspace import Workspace

    model = AutoModelForSequenceClassification.from_pretrained(workspace / "models" / "tiny", num_labels=1)
    settings = {"llama_pro": LlamaPro(new_layers=1), "freeze": Freeze(trainable_layers=1)}[kind].model_dump()
    method = {"settings": settings, "task": "SEQ_CLS"}
    apply = importlib.import_module(f"studio.tasks.methods.{kind}").apply
    model = apply(model, method, Workspace(workspace), lambda text: None)
    trained = {
        name.rpartition(".layers.")[2][:2] for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    assert trained == ({"2.", "sc"} if kind == "llama_pro" else {"1.", "sc"})
