"""LongLoRA: attention in shifted groups while training, full attention otherwise, and a plain LoRA adapter after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.config.low_rank import LongLora

pytestmark = pytest.mark.slow

LONG = {"method": {"type": "longlora", "rank": 8, "group_share": 0.25}, "optimisation": {"max_steps": 16}}


def by_loops(query: Any, key: Any, value: Any, valid: Any, share: float, training: bool) -> Any:
    """The definition, one number after the other: (rows, heads, length, width) to (rows, length, heads, width)."""
    import torch

    rows, heads, length, width = query.shape
    known, shared = key.shape[2], heads // key.shape[1]
    size = max(2, -int(-length * share // 1))
    size += size % 2
    found = torch.zeros(rows, length, heads, width)
    for row in range(rows):
        for head in range(heads):
            shift = size // 2 if head >= heads // 2 else 0
            for place in range(length):
                own = known - length + place
                seen = []
                for other in range(own + 1):
                    same = (own + shift) // size == (other + shift) // size
                    together = same or not training or size >= length
                    if other == own or (together and (valid is None or valid[row, other])):
                        seen.append(other)
                keys, values = (part[row, head // shared, seen] for part in (key, value))
                weights = torch.softmax(keys @ query[row, head, place] * 0.3, dim=0)
                found[row, place, head] = weights @ values
    return found


@pytest.mark.parametrize(
    ("length", "known", "share", "training", "lengths"),
    [
        (16, 16, 0.25, True, None),
        (16, 16, 0.25, True, [16, 9]),
        (17, 17, 0.3, True, [17, 5]),
        (5, 5, 0.1, True, [5, 3]),
        (9, 9, 1.0, True, [9, 4]),
        (16, 16, 0.25, False, None),
        (13, 13, 0.25, False, [13, 8]),
        (1, 12, 0.25, False, [12, 7]),
        (3, 12, 0.25, False, None),
    ],
)
def test_attention_in_groups_is_its_definition(
    length: int, known: int, share: float, training: bool, lengths: list[int] | None
) -> None:
    import torch

    from studio.tasks.shifted_attention import SHARE, padding_mask, shifted_attention

    torch.manual_seed(length)
    query = torch.randn(2, 4, length, 8, requires_grad=True)
    key, value = torch.randn(2, 2, known, 8), torch.randn(2, 2, known, 8)
    mask = None if lengths is None else torch.tensor([[place < real for place in range(known)] for real in lengths])
    valid = padding_mask(kv_length=known, attention_mask=mask)
    module = SimpleNamespace(training=training, config=SimpleNamespace(**{SHARE: share}))
    found, _ = shifted_attention(module, query, key, value, valid, scaling=0.3)
    wanted = by_loops(query.detach(), key, value, valid, share, training)
    assert torch.allclose(found, wanted, atol=1e-5)
    found.sum().backward()
    assert query.grad is not None and torch.isfinite(query.grad).all()


def tiny(workspace: Path, **options: Any) -> Any:
    """The tiny model."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(workspace / "models" / "tiny", **options).eval()


def test_a_model_sees_its_groups_in_training_and_everything_else_where(workspace: Path) -> None:
    """Padding on either side, a cache, and no look ahead."""
    import torch

    from studio.tasks.shifted_attention import use_shifted_attention

    plain, model = tiny(workspace), tiny(workspace)
    use_shifted_attention(model, 0.25)
    ids = torch.arange(3, 43)[None].repeat(2, 1)
    right, left = torch.ones(2, 40, dtype=torch.long), torch.ones(2, 40, dtype=torch.long)
    right[1, 25:], left[1, :15] = 0, 0
    with torch.no_grad():
        for mask in (None, right, left):
            wanted, found = (each(input_ids=ids, attention_mask=mask).logits for each in (plain, model))
            real = torch.ones(2, 40).bool() if mask is None else mask.bool()
            assert torch.allclose(found[real], wanted[real], atol=1e-4)
        asked = {
            "input_ids": ids,
            "attention_mask": left,
            "max_new_tokens": 6,
            "do_sample": False,
            "eos_token_id": None,
        }
        assert torch.equal(model.generate(**asked), plain.generate(**asked))
        model.train()
        first = model(input_ids=ids[:1], use_cache=False).logits
        assert not torch.allclose(first, plain(input_ids=ids[:1]).logits, atol=1e-3)
        other = ids[:1].clone()
        other[0, 30:] = 400
        assert torch.allclose(model(input_ids=other, use_cache=False).logits[0, :30], first[0, :30], atol=1e-5)
        padded = model(input_ids=ids, attention_mask=right, use_cache=False).logits
        assert torch.allclose(padded[0], first[0], atol=1e-5)


def test_it_learns_and_leaves_a_plain_adapter(train: Callable[..., Any], workspace: Path) -> None:
    import torch
    from peft import PeftModel

    whole = train("whole", LONG, {"samples": {"prompts": ["Who are you?"], "max_new_tokens": 4}})
    train("broken", LONG, stop_at=6)
    assert train("broken", LONG, resume_from="checkpoint-6").losses == pytest.approx(whole.losses, abs=1e-4)
    assert sum(whole.losses[-4:]) < sum(whole.losses[:4]) - 1
    settings = json.loads((whole.folder.path / "adapter_config.json").read_text())
    assert settings["peft_type"] == "LORA"
    assert {"embed_tokens", "input_layernorm", "post_attention_layernorm", "norm"} == set(settings["modules_to_save"])
    ids = torch.arange(3, 60)[None]
    for options in ({}, {"dtype": torch.bfloat16}):
        model = PeftModel.from_pretrained(tiny(workspace, **options), whole.folder.path)
        with torch.no_grad():
            beside = model(input_ids=ids).logits.float()
            merged = model.merge_and_unload()(input_ids=ids).logits.float()
        assert torch.isfinite(beside).all()
        assert torch.allclose(beside, merged, atol=1e-4 if not options else 0.15)
        assert not torch.allclose(beside, tiny(workspace)(input_ids=ids).logits, atol=0.05)


def test_groups_and_embeddings_are_what_the_settings_say(train: Callable[..., Any]) -> None:
    """The same rows and the same start: another share gives other losses from the first step on."""
    first = {"optimisation": {"max_steps": 1}}
    losses = [
        train(f"share-{share}", LONG, first, {"method": {"group_share": share}}).losses[0] for share in (0.2, 1.0)
    ]
    plain = train("lora", first, {"method": {"rank": 8}}).losses[0]
    assert losses[1] == pytest.approx(plain, abs=1e-4)
    assert abs(losses[0] - plain) > 1e-3
    run = train("alone", LONG, first, {"method": {"train_embeddings": False}, "quantization": {"type": "4bit"}})
    assert json.loads((run.folder.path / "adapter_config.json").read_text())["modules_to_save"] is None


@pytest.mark.parametrize("family", ["gemma2", "mistral"])
def test_models_with_windows_are_refused(family: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    from studio.tasks.failures import TaskError
    from studio.tasks.shifted_attention import use_shifted_attention

    config = AutoConfig.for_model(
        family,
        vocab_size=64,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=8,
    )
    with pytest.raises(TaskError, match="windows or limits in its attention"):
        use_shifted_attention(AutoModelForCausalLM.from_config(config), 0.25)


def test_every_setting_reaches_the_library() -> None:
    from studio.tasks.methods.longlora import peft_arguments

    def arguments(**changes: Any) -> dict[str, Any]:
        return peft_arguments(LongLora(**changes).model_dump(), "CAUSAL_LM", ("embed_tokens", "norm"))

    others = {"rank": 3, "alpha": 5, "dropout": 0.5, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}
    for name, value in {**others, "train_embeddings": False}.items():
        assert arguments(**{name: value}) != arguments(), name
