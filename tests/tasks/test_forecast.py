"""The memory forecast: its arithmetic, real architectures without weights, and a real worker's measured peak."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.config.io import override, parse
from studio.config.workspace import Workspace
from studio.runs.folder import RunFolder
from studio.runs.peaks import of_run
from studio.runs.records import JobSpec
from studio.tasks.forecast.optimizer_state import state_bytes
from studio.tasks.forecast.stored import of_checkpoint, packed_bytes

GB = 10**9
NF4 = {"type": "4bit", "options": {"bnb_4bit_use_double_quant": True}}
PLAIN_NF4 = {"type": "4bit", "options": {"bnb_4bit_use_double_quant": False}}


def test_a_4bit_matrix_takes_half_a_byte_a_weight_and_its_scales() -> None:
    numel = 4096 * 4096
    assert packed_bytes((4096, 4096), PLAIN_NF4) == numel // 2 + 4 * numel // 64  # 4.5 bits a weight
    assert packed_bytes((4096, 4096), NF4) == numel // 2 + numel // 64 + 4 * numel // 64 // 256
    # QLoRA's paper: double quantization saves 0.373 bits a weight.
    saved = packed_bytes((4096, 4096), PLAIN_NF4) - packed_bytes((4096, 4096), NF4)
    assert math.isclose(8 * saved / numel, 0.373, abs_tol=0.001)


def test_other_quantizations_of_a_matrix() -> None:
    assert packed_bytes((100, 64), {"type": "8bit"}) == 6400 + 4 * 100
    assert packed_bytes((100, 64), {"type": "eetq"}) == 6400 + 2 * 100
    assert packed_bytes((64, 64), {"type": "hqq", "bits": 4, "group_size": 64}) == 2048 + 4 * 64
    assert packed_bytes((64, 64), {"type": "hqq", "bits": 2, "group_size": 64}) == 1024 + 4 * 64


def test_a_quantized_checkpoint_counts_as_it_lies() -> None:
    numel = 4096 * 4096

    def size(**stated: Any) -> int:
        stored = of_checkpoint(stated)
        assert stored is not None
        return packed_bytes((4096, 4096), stored)

    assert size(load_in_4bit=True, bnb_4bit_use_double_quant=True) == packed_bytes((4096, 4096), NF4)
    assert size(load_in_8bit=True) == numel + 4 * 4096
    # 4 bits a weight, a scale of 16 bits and a zero point of 4 for 128 of them.
    assert size(quant_method="gptq", bits=4, group_size=128) == numel * (4 + 20 / 128) / 8
    assert size(quant_method="awq", bits=4, group_size=-1) == numel // 2
    assert size(quant_method="aqlm", num_codebooks=1, nbits_per_codebook=16, in_group_size=8) == numel // 4
    # Unpacked while loading: the weights count in full.
    assert of_checkpoint({"quant_method": "fp8"}) is None and of_checkpoint({"quant_method": "mxfp4"}) is None


def test_what_an_optimizer_keeps() -> None:
    shapes = [((1000, 500), 4)]
    assert state_bytes("adamw_torch_fused", shapes, {}) == 2 * 4 * 500_000
    assert state_bytes("adamw_bnb_8bit", shapes, {}) == 2 * (500_000 + 4 * math.ceil(500_000 / 256))
    assert state_bytes("adamw_8bit", shapes, {}, (1000, 500)) == 2 * 4 * 500_000  # embeddings keep 32 bits
    assert state_bytes("adafactor", shapes, {}) == 4 * 1500
    assert state_bytes("sgd", shapes, {}) == 0
    assert state_bytes("lion_32bit", shapes, {}) == 4 * 500_000
    galore = state_bytes("galore_adamw", shapes, {"rank": 10})
    assert galore == 4 * (2 * 10 * 1000 + 10 * 500)


def config_of(*words: str) -> Any:
    tree = {"model": {"path": "models/none"}, "data": {"datasets": ["d"], "cutoff_len": 1024}}
    return parse(override(tree, words))


def foretold(architecture: Any, device: str, *words: str, known: Any = None) -> Any:
    from studio.tasks.arguments import plan
    from studio.tasks.forecast.parts import batch_of, forecast
    from studio.tasks.machine import Machine

    config = config_of(*words)
    todo = plan(config, Machine(device, bf16=True), Path("run"))  # pyright: ignore[reportArgumentType]
    return forecast(config, todo, architecture, batch_of(config, None), device, Workspace(Path()), known)


def seven_billion() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=32, vocab_size=32000, tie_word_embeddings=False,
    )  # fmt: skip


def one_and_a_half_billion() -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(
        hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12,
        num_key_value_heads=2, vocab_size=151936, tie_word_embeddings=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_7b_qlora_at_1000_tokens_takes_what_is_published() -> None:
    """Published figures for QLoRA on 7 billion parameters at about 1,000 tokens are 6 to 7 GB."""
    batch = "optimisation.per_device_train_batch_size=1"
    made = foretold(seven_billion(), "cuda", "quantization.type=4bit", batch)
    assert made.parameters == 6_738_415_616 + made.trained
    linear, ends = 6_476_005_376, 2 * 32000 * 4096 + 65 * 4096
    assert made.parts["weights"] == pytest.approx(linear * 0.516 + 2 * ends, rel=0.005)
    assert 5.0 * GB < made.total < 7.0 * GB, made.parts


@pytest.mark.slow
def test_a_7b_in_full_and_a_tied_1_5b_are_added_up_right() -> None:
    full = foretold(seven_billion(), "cuda", "method.type=full", "optimisation.per_device_train_batch_size=1")
    assert full.parts["weights"] == 4 * 6_738_415_616
    assert full.parts["optimizer"] == 2 * full.parts["weights"]
    assert full.parts["gradients"] == full.parts["weights"]
    tied = foretold(one_and_a_half_billion(), "cuda", "optimisation.per_device_train_batch_size=1")
    # The head shares the embeddings, so they count once.
    assert tied.parts["weights"] == 2 * 1_543_714_304
    eight = foretold(
        one_and_a_half_billion(), "cuda", "quantization.type=8bit", "optimisation.per_device_train_batch_size=1"
    )
    assert 0.5 < eight.parts["weights"] / tied.parts["weights"] < 0.6


@pytest.mark.slow
def test_what_a_longer_batch_checkpointing_and_eager_attention_change() -> None:
    small = little_llama()
    off, on = "optimisation.gradient_checkpointing='off'", "optimisation.gradient_checkpointing='on'"
    plain = foretold(small, "cuda", off)
    assert foretold(small, "cuda", on).parts["activations"] < plain.parts["activations"] / 3
    half = foretold(small, "cuda", off, "optimisation.per_device_train_batch_size=2")
    assert half.parts["activations"] == pytest.approx(plain.parts["activations"] / 2, rel=0.02)
    # Eager attention holds heads × tokens × tokens for each layer, at least once.
    eager = foretold(small, "cuda", off, "model.attention=eager")
    assert eager.parts["activations"] - plain.parts["activations"] > 6 * 4 * 4 * 1024 * 1024 * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["method.type=llama-pro", "method.new_layers=2"],
        ["method.type=longlora"],
        ["method.type=loha"],
        ["method.type=lokr"],
    ],
)
def test_methods_that_look_at_numbers_are_foretold_too(words: list[str]) -> None:
    made = foretold(little_llama(4), "cpu", "data.cutoff_len=64", *words)
    assert 0 < made.trained < made.parameters
    assert made.parts["activations"] > 0


@pytest.mark.slow
def test_stages_hold_a_critic_and_a_reference_where_they_have_one() -> None:
    short = ("data.cutoff_len=64", "optimisation.per_device_train_batch_size=1")
    plain = foretold(little_llama(4), "cpu", *short)
    online = ("stage.max_completion_length=16", "stage.rewards=['answer_length']")
    ppo = foretold(little_llama(4), "cpu", *short, "stage.type=ppo", *online)
    assert ppo.trained - plain.trained == 64 + 1  # the value head
    assert ppo.parts["reference"] == 4 * ppo.trained
    dpo = foretold(little_llama(4), "cpu", *short, "stage.type=dpo", "method.type=full")
    assert dpo.parts["reference"] == dpo.parts["weights"]


@pytest.mark.slow
def test_a_batch_between_two_known_ones_needs_no_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.tasks.forecast import parts

    known, rows = parts.Known(), "optimisation.per_device_train_batch_size"
    small, large = (foretold(little_llama(4), "cpu", f"{rows}={count}", known=known) for count in (1, 4))
    exact = foretold(little_llama(4), "cpu", f"{rows}=2")
    monkeypatch.setattr(parts, "_rehearsed", None)
    monkeypatch.setattr(parts, "draw", None)
    between = foretold(little_llama(4), "cpu", f"{rows}=2", known=known)
    assert between.total == pytest.approx(exact.total, rel=0.01)
    assert small.total < between.total < large.total


@pytest.mark.slow
def test_packed_rows_hold_a_mask_of_who_sees_whom() -> None:
    long = ("data.cutoff_len=512", "optimisation.per_device_train_batch_size=1")
    plain, packed = (foretold(little_llama(4), "cpu", *long, *more) for more in ((), ("data.packing=true",)))
    assert packed.parts["activations"] - plain.parts["activations"] == pytest.approx(512 * 512, rel=0.05)


def little_llama(layers: int = 6) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=layers, num_attention_heads=4, vocab_size=1000,
        num_key_value_heads=2,
    )  # fmt: skip


def long_rows(workspace: Path, words: int) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "Say words."}, {"role": "assistant", "content": "river " * words}]}
    ]
    (workspace / "data").mkdir(exist_ok=True)
    (workspace / "data" / "long.json").write_text(json.dumps(rows * 16), encoding="utf-8")
    registry = workspace / "dataset_info.json"
    known = json.loads(registry.read_text(encoding="utf-8")) if registry.exists() else {}
    known["long"] = {"file_name": "long.json", "formatting": "openai"}
    registry.write_text(json.dumps(known), encoding="utf-8")


@pytest.mark.slow
def test_auto_computes_activations_twice_only_where_the_run_does_not_fit(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU whose size is made up here; the rule itself needs none."""
    from studio.tasks.forecast import recompute
    from studio.tasks.machine import Machine

    config = parse({"model": {"path": "models/tiny"}, "data": {"datasets": ["chat"], "cutoff_len": 512}})
    for size, way in ((80 * GB, "off"), (GB // 2, "on")):
        monkeypatch.setattr(recompute, "gpu_memory", lambda size=size: size)
        said: list[str] = []
        found = recompute.settled(config, Machine("cuda", bf16=True), Workspace(workspace), said.append)
        assert found.optimisation.gradient_checkpointing == way
        assert len(said) == 1 and "forecast" in said[0]
    assert recompute.settled(config, Machine("cpu", bf16=True), Workspace(workspace), print) is config


@pytest.mark.slow
def test_a_probe_measures_what_the_forecast_foretold(workspace: Path) -> None:
    """A worker process of its own; its peak as the kernel counts it."""
    from studio.tasks.desk import Desk
    from studio.tasks.forecast.question import answer

    long_rows(workspace, 600)
    tree = {
        "model": {"path": "models/tiny"},
        "data": {"datasets": ["long"], "cutoff_len": 512},
        "optimisation": {"precision": "fp32", "per_device_train_batch_size": 2},
        "devices": {"use": "cpu", "cpu_threads": 1},
    }
    config = parse(tree)
    folder = RunFolder(workspace / "saves" / "probe")
    folder.path.mkdir(parents=True)
    folder.write_config(yaml.safe_dump(config.model_dump(mode="json")))
    folder.write_job(JobSpec(name="probe", kind="probe"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-m", "studio.tasks.entry", str(folder.path)],
        cwd=workspace, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert not list(folder.path.glob("checkpoint-*")) and not list(folder.path.glob("*.safetensors"))
    found = of_run(Workspace(workspace), "probe")
    assert found is not None and found.source == "probe" and found.tokens_per_second > 0
    made = answer(Desk(Workspace(workspace)), {"config": config.model_dump(mode="json"), "device": "cpu"})
    assert made["measured"]["peak"] == found.peak
    assert made["measured"]["forecast"] == made["total"]  # what was foretold lies beside what came
    # The libraries are nearly all of it here, so the bound is in bytes; shares are held by bench/results/memory.md.
    assert made["total"] == pytest.approx(found.peak, abs=250e6)


def test_a_model_that_is_not_here_yet_is_no_reason_to_fail(workspace: Path) -> None:
    from studio.tasks.forecast.need import need
    from studio.tasks.machine import Machine

    tree = {"model": {"path": "models/not-fetched-yet"}, "data": {"datasets": ["chat"]}}
    assert need(parse(tree), Machine("cpu", bf16=False), Workspace(workspace)) is None
