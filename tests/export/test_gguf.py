"""A GGUF file holds the merged model: read back by transformers it gives the same logits, whatever the family."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from studio.tasks.failures import TaskError
from tests.export.conftest import AddRun, Export, results, use_engine

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {"head_dim": 32, "attention_bias": True, "tie_word_embeddings": True},
    "Mistral": {"sliding_window": None},
    "Qwen2": {"tie_word_embeddings": False},
    "Qwen3": {"head_dim": 32},
    "Gemma2": {"head_dim": 32, "sliding_window": 64, "query_pre_attn_scalar": 32},
    "Gemma3": {"head_dim": 32, "sliding_window": 64, "query_pre_attn_scalar": 32},
    "Phi3": {"pad_token_id": 2},
}


def add_model(workspace: Path, family: str, **settings: Any) -> Path:
    """A random model of a family with the tiny tokenizer, every vector of it random too."""
    import torch
    import transformers

    torch.manual_seed(11)
    config_class = getattr(transformers, "Gemma3TextConfig" if family == "Gemma3" else f"{family}Config")
    model = getattr(transformers, f"{family}ForCausalLM")(config_class(**{**SMALL, **settings}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            else:
                parameter.mul_(3)  # far from a uniform answer, so that a wrong matrix shows
            assert name
    folder = workspace / "models" / family.lower()
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(workspace / "models/tiny" / name, folder / name)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_read_back_with_the_same_logits(workspace: Path, export: Export, family: str) -> None:
    add_model(workspace, family, **FAMILIES[family])
    folder = export(
        "out", {"subject": {"base": f"models/{family.lower()}"}, "format": {"type": "gguf", "quantization": "f32"}}
    )
    found = results(folder)
    assert found["verdict"] == "good", found
    # float32 on both sides: only the order of additions differs.
    assert found["comparison"]["difference"] < 1e-4
    assert found["largest_error_over_bound"] == 0


@pytest.mark.parametrize("family", [*FAMILIES, "Gemma"])
def test_llama_cpp_itself_gives_the_same_logits(workspace: Path, export: Export, family: str) -> None:
    use_engine(workspace, "llama-cpp")
    add_model(workspace, family, **FAMILIES.get(family, {"head_dim": 32}))
    tree = {"subject": {"base": f"models/{family.lower()}"}, "format": {"type": "gguf", "quantization": "f32"}}
    found = results(export("out", tree))
    # It computes softmax and norms a little otherwise; a wrong matrix is a thousand times further off.
    assert (found["runtime"], found["verdict"]) == ("llama.cpp", "good")
    assert found["comparison"]["difference"] < 1e-3 and found["comparison"]["same_answers"] == 1


def test_llama_cpp_makes_k_quants(workspace: Path, add_run: AddRun, export: Export) -> None:
    use_engine(workspace, "llama-cpp")
    add_run("run")
    found = results(
        export("out", {"subject": {"run": "saves/run"}, "format": {"type": "gguf", "quantization": "q4_k_m"}})
    )
    assert found["verdict"] in ("good", "lossy") and found["quantize_seconds"] >= 0
    assert {file.suffix for file in (workspace / "exports/out").iterdir()} == {".gguf", ".md", ".json", ""}


@pytest.mark.parametrize("quantization", ["f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"])
def test_every_simple_type_stays_within_its_error(
    workspace: Path, add_run: AddRun, export: Export, quantization: str
) -> None:
    import gguf

    add_run("run")
    tree = {"subject": {"run": "saves/run"}, "format": {"type": "gguf", "quantization": quantization}}
    folder = export("out", {**tree, "verification": {"compare": False}})
    found = results(folder)
    assert 0 < found["largest_error_over_bound"] <= 1
    reader = gguf.GGUFReader(workspace / "exports/out" / found["file"])
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    small = quantization.startswith(("q5", "q4"))
    assert kinds["blk.0.attn_q.weight"] == quantization.upper()
    assert kinds["token_embd.weight"] == ("Q8_0" if small else quantization.upper())
    assert kinds["blk.0.attn_norm.weight"] == "F32"


def test_the_file_carries_tokenizer_template_and_ends(workspace: Path, add_run: AddRun, export: Export) -> None:
    import gguf

    add_run("run")
    export("out", {"subject": {"run": "saves/run"}, "format": {"type": "gguf"}, "verification": {"compare": False}})
    place = workspace / "exports/out"
    fields = gguf.GGUFReader(place / "out-q8_0.gguf").fields

    def value(key: str) -> Any:
        return fields[key].contents()

    tokenizer = json.loads((workspace / "models/tiny/tokenizer.json").read_text())
    tokens = value("tokenizer.ggml.tokens")
    assert tokens[: len(tokenizer["model"]["vocab"])] == sorted(
        tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__
    )
    assert value("tokenizer.ggml.merges") == [" ".join(pair) for pair in tokenizer["model"]["merges"]]
    assert value("tokenizer.ggml.pre") == "gpt-2"
    assert value("general.name") == "tiny", "llama.cpp goes by this name: not that of the run"
    assert tokens[value("tokenizer.ggml.eos_token_id")] == "<|im_end|>"
    assert value("tokenizer.ggml.add_bos_token") is False
    assert value("tokenizer.chat_template") == (workspace / "models/tiny/chat_template.jinja").read_text()
    assert (value("general.architecture"), value("llama.context_length")) == ("llama", 256)
    assert (value("llama.attention.head_count"), value("llama.attention.head_count_kv")) == (4, 2)
    text = (place / "Modelfile").read_text()
    assert text.startswith("FROM ./out-q8_0.gguf\n") and 'PARAMETER stop "<|im_end|>"' in text
    assert "<|im_start|>user\n{{ .Content }}<|im_end|>" in text


def test_stretched_positions_are_written(workspace: Path, export: Export) -> None:
    import gguf
    import torch
    from transformers import AutoModelForCausalLM

    rope = {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    base = add_model(workspace, "Llama", rope_parameters=rope)
    export("out", {"subject": {"base": "models/llama"}, "format": {"type": "gguf"}})
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(workspace / "exports/out/out-q8_0.gguf").tensors}
    factors = torch.from_numpy(stored["rope_freqs.weight"].data.copy())
    # llama.cpp divides the plain frequencies by these; transformers knows the stretched ones.
    plain = 1 / 10000.0 ** (torch.arange(0, 16, 2) / 16)
    rotary = AutoModelForCausalLM.from_pretrained(base).model.rotary_emb.inv_freq
    assert torch.allclose(plain / factors, rotary, rtol=1e-5)


def test_what_cannot_be_written_is_refused_before_anything_is(workspace: Path, add_run: AddRun, export: Export) -> None:
    add_run("run")
    with pytest.raises(TaskError, match="studio engines install llama-cpp"):
        export("out", {"subject": {"run": "saves/run"}, "format": {"type": "gguf", "quantization": "q4_k_m"}})
    file = workspace / "models/tiny/config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "architectures": ["MixtralForCausalLM"]}))
    with pytest.raises(TaskError, match="MixtralForCausalLM cannot be written"):
        export("out", {"subject": {"run": "saves/run"}, "format": {"type": "gguf"}})
    file.write_text(json.dumps({**settings, "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}))
    with pytest.raises(TaskError, match="longrope"):
        export("out", {"subject": {"run": "saves/run"}, "format": {"type": "gguf"}})
    assert list((workspace / "exports").glob("*")) == []
