"""Mixture-of-Depths: layers begin as the plain model, compute a part of a row, and answer without looking ahead."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROUTED = {"method": {"type": "mixture-of-depths", "capacity": 0.5, "every": 2}}


@pytest.fixture
def tiny(workspace: Path) -> Callable[..., Any]:
    """A function that gives the tiny model with four layers; `routers` are random where asked for."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from studio.tasks.routed_model import make_routed, routed_layers

    def call(capacity: float = 0.5, every: int = 2, attention: str = "sdpa", routers: bool = True) -> Any:
        torch.manual_seed(1)
        config = AutoConfig.from_pretrained(workspace / "models" / "tiny", num_hidden_layers=4)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
        make_routed(model, capacity, every)
        for layer in routed_layers(model) if routers else []:
            torch.nn.init.normal_(layer.router.weight, std=0.2)
            torch.nn.init.normal_(layer.predictor.outer.weight, std=0.5)
        return model

    return call


def outputs(model: Any, ids: Any, **more: Any) -> Any:
    """Logits without a cache."""
    import torch

    with torch.no_grad():
        return model(input_ids=ids, use_cache=False, **more).logits


def written(model: Any, prompt: list[int], count: int) -> list[int]:
    """The likeliest tokens, each from a whole pass over all before it."""
    import torch

    ids = list(prompt)
    for _ in range(count):
        ids.append(int(outputs(model, torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


def by_tokens(model: Any, layer: Any, stream: Any, lengths: list[int], training: bool) -> Any:
    """The definition, token by token: each sees those of its row that the layer computes and that stand before it."""
    import math

    import torch

    plain = type(layer).__mro__[2].forward
    found = stream.clone()
    for row, length in enumerate(lengths):
        tokens = stream[row] / stream[row].pow(2).mean(-1, keepdim=True).sqrt()
        scores = (tokens @ layer.router.weight.T)[:, 0]
        best = sorted(range(length), key=lambda place: -float(scores[place]))[: math.ceil(layer.capacity * length)]
        guessed = [place for place in range(length) if float(layer.predictor(tokens[place])) >= 0]
        for place in best if training else guessed:
            seen = [other for other in sorted(best if training else guessed) if other <= place]
            angles = model.model.rotary_emb(stream, torch.tensor([seen]))
            own = stream[row, seen][None]
            mask = torch.ones(1, 1, len(seen), len(seen)).tril()
            mask = mask.bool() if not layer.eager else (1 - mask) * torch.finfo(torch.float32).min
            after = plain(layer, own, attention_mask=mask, position_embeddings=angles)[0, -1]
            gate = 2 * torch.sigmoid(scores[place])
            found[row, place] = stream[row, place] + gate * (after - stream[row, place])
    return found


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("lengths", [[11, 11], [11, 6]])
def test_a_routed_layer_is_its_definition(
    tiny: Callable[..., Any], attention: str, training: bool, lengths: list[int]
) -> None:
    import torch

    model = tiny(0.3, 1, attention).train(training)
    layer, seen = model.model.layers[0], {}
    layer.register_forward_hook(lambda _, given, made: seen.update(given=given[0], made=made))
    mask = torch.tensor([[place < length for place in range(11)] for length in lengths]).long()
    with torch.no_grad():
        model(input_ids=torch.arange(30, 52).view(2, 11), attention_mask=mask, use_cache=False)
        wanted = by_tokens(model, layer, seen["given"], lengths, training)
    assert torch.allclose(seen["made"][mask.bool()], wanted[mask.bool()], atol=1e-5)
    moved = (seen["made"] - seen["given"]).abs().sum(-1)[mask.bool()] > 0
    assert 0 < int(moved.sum()) < int(mask.sum())


def test_it_begins_as_the_plain_model(tiny: Callable[..., Any]) -> None:
    """To the last bit: in training with all tokens, in answering with any capacity."""
    import torch

    model = tiny(1.0, 2, routers=False)
    ids = torch.arange(40, 64)[None]
    plain = type(model).__bases__[0](model.config).eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    wanted = outputs(plain, ids)
    assert torch.equal(outputs(model.train(), ids), wanted)
    assert torch.equal(outputs(tiny(0.1, 2, routers=False), ids), wanted)
    half = outputs(tiny(0.5, 2, routers=False).train(), ids)
    assert (half - wanted).abs().max() > 1e-3


def test_tokens_are_chosen_by_score_and_evenly_at_first() -> None:
    import torch

    from studio.tasks.routed_layers import best_slots

    scores = torch.tensor([[0.1, 3.0, 2.0, -1.0, 5.0, 9.0], [1.0, 0.0, 3.0, 9.0, 9.0, 9.0]])
    real = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    slots, taken = best_slots(scores, real, 0.5)
    assert [row[own].tolist() for row, own in zip(slots, taken, strict=True)] == [[1, 4, 5], [0, 2]]
    assert all(len(set(row.tolist())) == 3 for row in slots)  # written back in one go, so none stands twice
    even, _ = best_slots(torch.zeros(1, 100), torch.ones(1, 100).bool(), 0.25)
    gaps = even[0].diff()
    assert len(even[0]) == 25 and int(gaps.min()) >= 2 and int(gaps.max()) <= 6


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_no_token_looks_ahead_with_or_without_a_cache_or_padding(tiny: Callable[..., Any], attention: str) -> None:
    import torch
    from transformers import DynamicCache

    model = tiny(attention=attention)
    ids = torch.randint(3, 512, (2, 24), generator=torch.Generator().manual_seed(0))
    whole = outputs(model, ids)
    other = ids.clone()
    other[:, 15:] = 7
    assert torch.allclose(outputs(model, other)[:, :15], whole[:, :15], atol=1e-6)
    cache, parts = DynamicCache(), []
    with torch.no_grad():
        for start, end in ((0, 10), (10, 18), *((at, at + 1) for at in range(18, 24))):
            parts.append(model(input_ids=ids[:, start:end], past_key_values=cache, use_cache=True).logits)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)
    left = torch.cat([torch.full((2, 5), 2), ids], 1)
    mask = torch.tensor([[0] * 5 + [1] * 24] * 2)
    padded = outputs(model, left, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp_min(0))
    assert torch.allclose(padded[:, 5:], whole, atol=1e-5)


def test_serving_and_evaluation_write_what_whole_passes_write(tiny: Callable[..., Any]) -> None:
    """Rows of other lengths that come and go beside it move the marks of tokens that passed by along with the keys."""
    import torch

    from studio.tasks.evaluating.answering import Batch, Choosing, Request, Voice
    from studio.tasks.serving.rows import Rows

    model = tiny()
    prompts = [list(range(10, 31)), list(range(50, 57)), list(range(90, 103))]
    wanted = [written(model, prompt, 6) for prompt in prompts]
    with torch.inference_mode():
        rows, found = Rows(model), [[], [], []]
        found[0].append(int(rows.join(prompts[0]).argmax()))
        for own in (1, 2):
            found[own].append(int(rows.join(prompts[own]).argmax()))
            for row, logits in enumerate(rows.step([one[-1] for one in found[: own + 1]])):
                found[row].append(int(logits.argmax()))
        rows.keep([2, 0])
        for _ in range(3):
            for row, logits in zip((2, 0), rows.step([found[2][-1], found[0][-1]]), strict=True):
                found[row].append(int(logits.argmax()))
    assert all(own == right[: len(own)] for own, right in zip(found, wanted, strict=True))
    batch = Batch(Voice(model, frozenset(), 2, Choosing()), 2)
    waiting = deque(Request(key, ids, 6) for key, ids in enumerate(prompts))
    answers = {}
    while len(answers) < 3:
        answers |= {answer.key: answer.ids for answer in batch.step(waiting)}
    assert [answers[key] for key in range(3)] == wanted


def test_it_learns_resumes_exactly_and_loads_again(train: Callable[..., Any], workspace: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from studio.config.io import parse
    from studio.tasks.arguments import model_arguments
    from studio.tasks.failures import TaskError
    from studio.tasks.machine import Machine
    from studio.tasks.model import load_model, load_tokenizer
    from studio.tasks.routed_model import routed_layers
    from tests.tasks.conftest import TINY, merged

    changes = merged(ROUTED, {"optimisation": {"max_steps": 10}, "data": {"validation_size": 0.25}})
    changes = merged(changes, {"cadence": {"eval_steps": 5}})
    whole = train("whole", changes, {"samples": {"prompts": ["Who are you?"], "max_new_tokens": 4}})
    train("broken", changes, stop_at=5)
    again = train("broken", changes, resume_from="checkpoint-5")
    assert again.losses == pytest.approx(whole.losses, abs=1e-4)
    assert sum(whole.losses[-3:]) < sum(whole.losses[:3]) - 1
    folder, other = whole.folder.path, again.folder.path
    held, resumed = (load_file(place / "model.safetensors") for place in (folder, other))
    assert all(torch.allclose(held[name], resumed[name], atol=1e-5) for name in held)
    assert held["model.layers.1.router.weight"].abs().max() > 0
    assert held["model.layers.1.predictor.outer.weight"].abs().max() > 0
    assert json.loads((folder / "mixture_of_depths.json").read_text()) == {
        "model_type": "llama",
        "capacity": 0.5,
        "layers": [1],
    }
    with pytest.raises(ValueError, match="mixture_of_depths"):
        AutoModelForCausalLM.from_pretrained(folder)

    section = parse(merged(TINY, {"model": {"path": str(folder)}})).model
    arguments = model_arguments(section, "float32")
    model = load_model(str(folder), arguments, {"type": "none", "trains": False}, Machine("cpu", bf16=False)).eval()
    assert [layer.number for layer in routed_layers(model)] == [1]
    old = load_tokenizer(str(workspace / "models" / "tiny"), arguments)
    assert load_tokenizer(str(folder), arguments).get_vocab() == old.get_vocab()
    prompt = list(range(20, 34))
    found = model.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False, eos_token_id=None)
    assert found[0, 14:].tolist() == written(model, prompt, 8)

    path = {"model": {"path": "saves/whole"}}
    onward = train("onward", ROUTED, path, {"optimisation": {"max_steps": 1}, "method": {"capacity": 0.75}})
    assert onward.losses[0] < whole.losses[0] - 1
    assert json.loads((onward.folder.path / "config.json").read_text())["mixture_of_depths"]["capacity"] == 0.75
    with pytest.raises(TaskError, match=r"method\.type=lora does not know"):
        train("lora", path)
    with pytest.raises(TaskError, match=r"are \[1\], which method\.every=1 would not give"):
        train("every", ROUTED, path, {"method": {"every": 1}})
    with pytest.raises(TaskError, match="cannot be quantized"):
        load_model(str(folder), arguments, {"type": "4bit", "trains": False}, Machine("cpu", bf16=False))
    (folder / "mixture_of_depths.json").unlink()
    with pytest.raises(TaskError, match=r"lacks mixture_of_depths\.json"):
        load_model(str(folder), arguments, {"type": "none", "trains": False}, Machine("cpu", bf16=False))


def test_predictors_learn_what_the_routers_choose_and_move_nothing_else(tiny: Callable[..., Any]) -> None:
    """Their loss reaches them alone, and gradients recomputed in the backward pass are the same."""
    import torch

    model = tiny().train()
    ids = torch.randint(3, 512, (2, 40), generator=torch.Generator().manual_seed(0))

    def gradients() -> dict[str, Any]:
        model.zero_grad()
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        (loss + model.side_loss()).backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    first = gradients()
    assert model.side_loss() is None
    assert all(torch.isfinite(one).all() and one.abs().max() > 0 for one in first.values())
    model.activation_checkpointing_enable({"use_reentrant": False})
    again = gradients()
    assert all(torch.allclose(again[name], one, atol=1e-6) for name, one in first.items())
    model.activation_checkpointing_disable()
    model(input_ids=ids, use_cache=False)
    model.zero_grad()
    model.side_loss().backward()
    moved = {
        name for name, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.any()
    }
    assert moved == {name for name in first if ".predictor." in name}
    own = [parameter for name, parameter in model.named_parameters() if ".predictor." in name]
    optimizer, losses = torch.optim.Adam(own, lr=3e-3), []
    for _ in range(60):
        model(input_ids=ids, use_cache=False)
        beside = model.side_loss()
        losses.append(beside.item() / 2)
        optimizer.zero_grad()
        beside.backward()
        optimizer.step()
    assert losses[-1] < 0.3 < 0.6 < losses[0]


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gpt2"])
def test_families_that_cannot_be_routed_are_refused(family: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    from studio.tasks.failures import TaskError
    from studio.tasks.routed_model import make_routed

    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = AutoConfig.for_model(
        family, vocab_size=64, **({} if family == "gpt2" else {**shape, "num_key_value_heads": 1, "sliding_window": 8})
    )
    if family == "gpt2":
        config.n_embd, config.n_layer, config.n_head = 16, 2, 2
    with pytest.raises(TaskError, match=r"windows or a kind of its own|cannot be routed"):
        make_routed(AutoModelForCausalLM.from_config(config), 0.5, 2)


def test_more_layers_apart_than_there_are_is_refused(tiny: Callable[..., Any]) -> None:
    from studio.tasks.failures import TaskError

    with pytest.raises(TaskError, match=r"The model has 4 layers, so none .*method\.every=5"):
        tiny(every=5)
