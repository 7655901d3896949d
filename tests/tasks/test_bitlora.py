"""BitLoRA: adapters in few bits learn about as well as LoRA, come back as they were, and merge exactly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.conftest import merged

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def bitlora(**changes: Any) -> dict[str, Any]:
    """The section of the method."""
    return {"method": {"type": "bitlora", **changes}}


def base_model(workspace: Path) -> Any:
    """The tiny model without an adapter."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(workspace / "models" / "tiny").eval()


def outputs(model: Any) -> Any:
    """Logits of a fixed row."""
    import torch

    with torch.no_grad():
        return model(input_ids=torch.arange(3, 60)[None]).logits


def test_a_matrix_in_few_bits_has_the_values_of_the_papers_and_passes_its_gradient() -> None:
    import torch

    from studio.tasks.few_bits import quantized

    weight = torch.tensor([[0.2, -1.0], [3.0, -0.2]], requires_grad=True)  # mean of the absolute values: 1.1
    one, ternary = quantized(weight, "1"), quantized(weight, "1.58")
    assert torch.allclose(one, torch.tensor([[1.1, -1.1], [1.1, -1.1]]))
    assert torch.allclose(ternary, torch.tensor([[0.0, -1.1], [1.1, 0.0]]))
    gradient = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    (one * gradient + ternary * gradient).sum().backward()
    assert torch.equal(weight.grad, 2 * gradient)
    assert quantized(torch.zeros(2, 3), "1").abs().max() == quantized(torch.zeros(2, 3), "1.58").abs().max() == 0


def test_activations_keep_their_direction_and_have_whole_steps() -> None:
    import torch

    from studio.tasks.few_bits import quantized_activations

    inputs = torch.tensor([[1.0, -2.0, 100.0], [0.01, 0.0, -0.02]], requires_grad=True)
    shown = quantized_activations(inputs)
    steps = shown / shown.abs().amax(dim=-1, keepdim=True) * 127
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert torch.allclose(shown.norm(dim=-1), torch.full((2,), 3.0**0.5), rtol=0.01)
    assert torch.nn.functional.cosine_similarity(shown, inputs).min() > 0.999
    shown.sum().backward()
    assert inputs.grad is not None and torch.isfinite(inputs.grad).all() and inputs.grad.abs().max() > 0


@pytest.mark.parametrize("bits", ["none", "4bit", "8bit"])
def test_lora_and_both_kinds_of_bits_end_near_each_other(train: Callable[..., Any], bits: str) -> None:
    """The same rows in the same order from the same start, on plain and on quantized weights."""
    changes = {"quantization": {"type": bits}, "optimisation": {"max_steps": 16, "learning_rate": 5e-3}}
    shared = {"rank": 8, "alpha": 16, "dropout": 0.05}
    courses = {
        "lora": train(f"lora-{bits}", changes, {"method": {"type": "lora", **shared}}).losses,
        "1": train(f"one-{bits}", changes, bitlora(bits="1", **shared)).losses,
        "1.58": train(f"ternary-{bits}", changes, bitlora(bits="1.58", **shared)).losses,
    }
    for name, course in courses.items():
        assert course[0] == pytest.approx(courses["lora"][0], abs=1e-4)  # B is zero, so nothing is added at first
        assert fall(course) > 0.25
        assert fall(course) == pytest.approx(fall(courses["lora"]), abs=0.15), name


def fall(course: list[float]) -> float:
    """By how much the loss fell from the first four steps to the last four, two epochs of the same rows."""
    return (sum(course[:4]) - sum(course[-4:])) / 4


CHANGES = {"optimisation": {"max_steps": 8, "learning_rate": 2e-2}}


@pytest.mark.parametrize("method", [{"bits": "1"}, {"bits": "1.58", "quantize_activations": True}])
def test_a_resumed_run_and_a_loaded_adapter_are_the_trained_one(
    train: Callable[..., Any], workspace: Path, method: dict[str, Any]
) -> None:
    import torch
    from peft import PeftModel

    from studio.tasks.adapter import load

    changes = merged(CHANGES, bitlora(**method, dropout=0.1))
    whole = train("whole", changes, {"cadence": {"save_steps": 4}})
    train("broken", changes, stop_at=4)
    assert train("broken", changes, resume_from="checkpoint-4").losses == pytest.approx(whole.losses, abs=1e-4)

    folders = [whole.folder.path, whole.folder.path / "checkpoint-8"]
    told = [json.loads((folder / "adapter_config.json").read_text())["bitlora"] for folder in folders]
    assert told == [{"bits": method["bits"], "quantize_activations": method.get("quantize_activations", False)}] * 2
    base = outputs(base_model(workspace))
    first, second = (outputs(load(base_model(workspace), folder)) for folder in folders)
    assert torch.equal(first, second) and (first - base).abs().max() > 0.05
    with pytest.raises(ValueError, match="bitlora"):  # as plain LoRA it would be another model
        PeftModel.from_pretrained(base_model(workspace), folders[0])


def test_without_quantized_activations_it_merges_exactly_and_else_not_at_all(
    train: Callable[..., Any], workspace: Path
) -> None:
    import torch

    from studio.tasks.adapter import load
    from studio.tasks.failures import TaskError

    for bits in ("1", "1.58"):
        folder = train(f"run-{bits}", CHANGES, bitlora(bits=bits)).folder.path
        beside = load(base_model(workspace), folder)
        wanted = outputs(beside)
        found = outputs(beside.merge_and_unload())
        assert torch.allclose(found, wanted, atol=2e-5)
        assert (found - outputs(base_model(workspace))).abs().max() > 0.05
    folder = train("rounded", CHANGES, bitlora(quantize_activations=True)).folder.path
    with pytest.raises(TaskError, match="cannot be merged"):
        load(base_model(workspace), folder).merge_and_unload()


def test_adapters_of_both_kinds_stand_beside_each_other(train: Callable[..., Any], workspace: Path) -> None:
    """As the chat and the evaluation load them: in any order, each with its own arithmetic."""
    import torch

    from studio.tasks.adapter import load

    folders = {
        "plain": train("plain", CHANGES).folder.path,
        "bits": train("bits", CHANGES, bitlora(bits="1")).folder.path,
        "rounded": train("rounded", CHANGES, bitlora(quantize_activations=True)).folder.path,
    }
    alone = {name: outputs(load(base_model(workspace), folder)) for name, folder in folders.items()}
    for order in (["plain", "bits", "rounded"], ["rounded", "bits", "plain"]):
        model = base_model(workspace)
        for name in order:
            model = load(model, folders[name], name)
        for name in order:
            model.set_adapter(name)
            assert torch.equal(outputs(model), alone[name]), (order, name)


def test_a_copy_for_reference_has_the_same_bits(train: Callable[..., Any], workspace: Path) -> None:
    """TRL's DPO copies an adapter that is trained on under the name ref."""
    import torch

    from studio.tasks.adapter import load

    model = load(base_model(workspace), train("run", CHANGES, bitlora()).folder.path, trainable=True)
    model.add_adapter("ref", model.peft_config["default"])
    for name, parameter in model.named_parameters():
        if ".default." in name:
            model.get_parameter(name.replace(".default.", ".ref.")).data.copy_(parameter.data)
    wanted = outputs(model.eval())
    model.set_adapter("ref")
    assert torch.equal(outputs(model), wanted)


def test_only_an_adapter_of_the_same_kind_is_gone_on_with(train: Callable[..., Any]) -> None:
    from studio.tasks.failures import TaskError

    first = train("first", CHANGES, bitlora(bits="1"))
    model = {"model": {"adapters": ["saves/first"]}}
    second = train("second", CHANGES, bitlora(bits="1"), model)
    assert second.losses[0] < first.losses[0] - 0.1
    with pytest.raises(TaskError, match=r"was trained with method.bits=1 "):
        train("third", bitlora(bits="1.58"), model)
    with pytest.raises(TaskError, match=r"is of type BitLora, and method\.type=lora trains Lora"):
        train("fourth", model)


def test_embeddings_cannot_be_held_to_bits(train: Callable[..., Any]) -> None:
    from studio.tasks.failures import TaskError

    with pytest.raises(TaskError, match=r"model\.embed_tokens is none"):
        train("run", bitlora(target_modules=["q_proj", "embed_tokens"]))


def test_every_setting_reaches_the_library() -> None:
    from studio.config.low_rank import BitLora
    from studio.tasks.methods.bitlora import peft_arguments

    def arguments(**changes: Any) -> dict[str, Any]:
        return peft_arguments(BitLora(**changes).model_dump(), "CAUSAL_LM")

    others = {"rank": 3, "alpha": 5, "dropout": 0.5, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}
    for name, value in {**others, "bits": "1", "quantize_activations": True}.items():
        assert arguments(**{name: value}) != arguments(), name
