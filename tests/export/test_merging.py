"""The streamed merge equals peft's merge bit for bit, for every kind of LoRA that it knows, in any format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from studio.runs.artifacts import model_tensors
from studio.tasks.failures import TaskError
from tests.export.conftest import LINEAR, AddRun

pytestmark = pytest.mark.slow

KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "patterns": {"rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.up_proj": 6}, "alpha_pattern": {"q_proj": 5}},
    "one layer": {"layers_to_transform": [1], "target_modules": ["q_proj", "down_proj"]},
    "embedding": {"target_modules": [*LINEAR, "embed_tokens"]},
    "embedding dora": {"target_modules": ["q_proj", "embed_tokens"], "use_dora": True},
    "saved modules": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "output": {"target_modules": ["v_proj", "lm_head"]},
}


def streamed(base: Path, adapters: Sequence[Path], target: Path, dtype: str = "auto", most: int = 10**12) -> Path:
    """The merge by our own way, as a folder."""
    from studio.runs.atomic import write_json
    from studio.tasks.exporting.merge import open_merge
    from studio.tasks.exporting.shards import write_model

    target.mkdir()
    merging = open_merge(base, adapters, dtype, "cpu")
    write_model(target, merging.outputs, merging.load, most, lambda done, total: None)
    write_json(target / "config.json", merging.model_config())
    return target


def by_peft(base: Path, adapters: Sequence[Path], dtype: str) -> dict[str, Any]:
    """The merge by peft, as tensors by name."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype))
    for folder in adapters:
        model = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    return dict(model.state_dict())


def differing(folder: Path, wanted: dict[str, Any]) -> list[str]:
    """Names of tensors that are not equal bit for bit; a tied output embedding may be left out."""
    import torch
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    wanted = {name: tensor.to(next(iter(found.values())).dtype) for name, tensor in wanted.items()}
    return sorted(name for name in wanted if name not in found or not torch.equal(found[name], wanted[name])) + sorted(
        set(found) - set(wanted)
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_equals_peft_bit_for_bit(workspace: Path, add_run: AddRun, tmp_path: Path, kind: str, dtype: str) -> None:
    adapter = add_run("run", **KINDS[kind])
    made = streamed(workspace / "models/tiny", [adapter], tmp_path / "made", dtype)
    assert differing(made, by_peft(workspace / "models/tiny", [adapter], dtype)) == []


def test_several_adapters_are_merged_in_order(workspace: Path, add_run: AddRun, tmp_path: Path) -> None:
    first, second = add_run("first", use_dora=True), add_run("second one")
    base = workspace / "models/tiny"
    made = streamed(base, [first, second], tmp_path / "made", "bfloat16")
    assert differing(made, by_peft(base, [first, second], "bfloat16")) == []
    assert differing(made, by_peft(base, [second, first], "bfloat16")) != []


def test_biases_are_merged(workspace: Path, add_run: AddRun, tmp_path: Path) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(3)
    config = Qwen2Config(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    model.save_pretrained(workspace / "models/biased")
    for number, settings in enumerate(({"bias": "all"}, {"bias": "lora_only"}, {"lora_bias": True})):
        target = {"target_modules": ["q_proj", "v_proj"]}
        adapter = add_run(f"run{number}", base="models/biased", **target, **settings)
        made = streamed(workspace / "models/biased", [adapter], tmp_path / f"made{number}")
        wanted = by_peft(workspace / "models/biased", [adapter], "float32")
        wanted.pop("lm_head.weight")  # tied, so kept once
        assert differing(made, wanted) == [], settings


def test_matrices_that_lie_the_other_way_are_merged(workspace: Path, add_run: AddRun, tmp_path: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(5)
    config = GPT2Config(vocab_size=512, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(workspace / "models/gpt2")
    for number, dora in enumerate((False, True)):
        adapter = add_run(
            f"run{number}", base="models/gpt2", target_modules=["c_attn", "c_proj"], fan_in_fan_out=True, use_dora=dora
        )
        made = streamed(workspace / "models/gpt2", [adapter], tmp_path / f"made{number}")
        wanted = by_peft(workspace / "models/gpt2", [adapter], "float32")
        wanted.pop("lm_head.weight")
        assert differing(made, wanted) == []


def tied_model(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_tied_embeddings_part_ways_as_the_tuned_model_had_them(
    workspace: Path, add_run: AddRun, tmp_path: Path, target: str
) -> None:
    """Here peft adds the delta to both ends; what was trained is what counts, so this is held against the answers."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = workspace / "models/tied"
    tied_model(base)
    adapter = add_run("run", base="models/tied", target_modules=["q_proj", target])
    made = streamed(base, [adapter], tmp_path / "made")
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter)).eval()(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(made)
        assert merged.lm_head.weight is not merged.model.embed_tokens.weight
        assert torch.allclose(merged.eval()(ids).logits, tuned, atol=1e-5)
        wrong = by_peft(base, [adapter], "float32")
        assert torch.equal(wrong["lm_head.weight"], wrong["model.embed_tokens.weight"]), "peft has learnt it too"
    assert json.loads((made / "config.json").read_text())["tie_word_embeddings"] is False


def test_a_base_alone_is_cut_into_other_shards(workspace: Path, tmp_path: Path) -> None:
    base = workspace / "models/tiny"
    made = streamed(base, [], tmp_path / "made", most=100_000)
    files = sorted(made.glob("model-*-of-*.safetensors"))
    assert len(files) > 2
    largest = max(tensor.nbytes for tensor in model_tensors(base).values())
    assert all(file.stat().st_size <= max(100_000, largest) + 4096 for file in files)
    assert differing(made, by_peft(base, [], "float32")) == []
    # What was cut can be put together again.
    again = streamed(made, [], tmp_path / "again")
    assert (again / "model.safetensors").is_file()
    assert differing(again, by_peft(base, [], "float32")) == []


def test_kinds_that_are_unknown_are_left_to_peft(workspace: Path, add_run: AddRun) -> None:
    from studio.tasks.exporting.lora import NotStreamable
    from studio.tasks.exporting.merge import open_merge

    folder = add_run("run")
    settings = json.loads((folder / "adapter_config.json").read_text())
    for change in ({"peft_type": "LOHA"}, {"init_lora_weights": "pissa_niter_16"}, {"target_parameters": ["experts"]}):
        (folder / "adapter_config.json").write_text(json.dumps({**settings, **change}))
        with pytest.raises(NotStreamable):
            open_merge(workspace / "models/tiny", [folder], "auto", "cpu")


def test_an_adapter_of_another_model_is_refused(workspace: Path, add_run: AddRun) -> None:
    from studio.tasks.exporting.merge import open_merge

    tied_model(workspace / "models/tied")
    adapter = add_run("run")
    merging = open_merge(workspace / "models/tied", [add_run("fitting", base="models/tied")], "auto", "cpu")
    assert merging.load("model.layers.0.self_attn.q_proj.weight").shape == (32, 32)
    with pytest.raises(TaskError, match="does not fit this base model"):
        open_merge(workspace / "models/tied", [adapter], "auto", "cpu").load("model.layers.0.self_attn.q_proj.weight")


def test_broken_adapters_and_quantized_bases_are_refused(workspace: Path, add_run: AddRun) -> None:
    from safetensors.torch import load_file, save_file

    from studio.tasks.exporting.merge import open_merge

    base, name = workspace / "models/tiny", "model.layers.0.self_attn.q_proj.weight"
    folder = add_run("run")
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    key = f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight"
    save_file({**tensors, key: tensors[key] * float("nan")}, file)
    with pytest.raises(TaskError, match="not finite"):
        open_merge(base, [folder], "auto", "cpu").load(name)
    save_file({other: tensor for other, tensor in tensors.items() if other != key}, file)
    with pytest.raises(TaskError, match=r"lacks lora_A\.weight"):
        open_merge(base, [folder], "auto", "cpu").load(name)
    quantized = shutil.copytree(base, workspace / "models/quantized")
    settings = json.loads((quantized / "config.json").read_text())
    (quantized / "config.json").write_text(json.dumps({**settings, "quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(TaskError, match="quantized already"):
        open_merge(quantized, [], "auto", "cpu")
