"""What a merge costs beside peft's own: `python -m bench.export [BASE_FOLDER ADAPTER_FOLDER]`.

Each way runs in processes of its own, by turns; the most main memory that the process ever held is the kernel's VmHWM.
Both write the same bf16 model, and the results are compared bit for bit. Without folders it makes an adapter for the
shipped model first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.report import ROOT, spread, write_result

ROUNDS = 3

OURS = """
import sys, time
begun = time.perf_counter()
from pathlib import Path
import torch
from studio.tasks.exporting.merge import open_merge
from studio.tasks.exporting.shards import write_model
ready = time.perf_counter()
base, adapter, target = map(Path, sys.argv[1:])
merging = open_merge(base, [adapter], "auto", "cpu")
write_model(target, merging.outputs, merging.load, 5 * 10**9, lambda done, total: None)
"""
PEFT = """
import sys, time
begun = time.perf_counter()
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
ready = time.perf_counter()
base, adapter, target = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(target)
"""
LOADED = "import torch, time\nbegun = ready = time.perf_counter()\n"
REPORT = """
import json
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
now = time.perf_counter()
print(json.dumps({"whole": now - begun, "work": now - ready, "memory": int(line.split()[1]) / 1000}))
"""


def main(base: Path, adapter: Path) -> None:
    """Measure, compare, write the result."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        found: dict[str, list[dict[str, float]]] = {"ours": [], "peft": [], "torch": []}
        for number in range(ROUNDS):
            for way, code in (("ours", OURS), ("peft", PEFT), ("torch", LOADED)):
                target = scratch / f"{way}{number}"
                target.mkdir()
                found[way].append(measure(code, base, adapter, target))
        equal = same(scratch / "ours0", scratch / "peft0")
        large = scratch / "large"
        gigabytes = make_large(large)
        big: dict[str, dict[str, float]] = {}
        for way, code in (("ours", OURS), ("peft", PEFT)):
            (large / way).mkdir()
            big[way] = measure(code, large / "base", large / "adapter", large / way)
        equal += same(large / "ours", large / "peft")
    size = (base / "model.safetensors").stat().st_size / 1e6
    rows = [("what", "median", "least", "most")]
    for way, title in (("ours", "Studio's stream"), ("peft", "peft's merge_and_unload")):
        rows.append((f"{title}: reading, merging, writing (s)", *spread([one["work"] for one in found[way]])))
        rows.append((f"{title}: with imports (s)", *spread([one["whole"] for one in found[way]])))
        rows.append((f"{title}: most memory (MB)", *spread([one["memory"] for one in found[way]], 0)))
    rows.append(
        ("PyTorch imported, nothing done: most memory (MB)", *spread([one["memory"] for one in found["torch"]], 0))
    )
    for way, title in (("ours", "Studio's stream"), ("peft", "peft's merge_and_unload")):
        once = big[way]
        rows.append((f"{title}, random model of {gigabytes:.1f} GB: most memory (MB)", f"{once['memory']:.0f}", "", ""))
        rows.append((f"{title}, random model of {gigabytes:.1f} GB: the work (s)", f"{once['work']:.1f}", "", ""))
    write_result(
        "export",
        "python -m bench.export",
        f"A LoRA adapter on all linear layers merged into {base.name} ({size:.0f} MB in bf16) on the CPU with one "
        f"thread, {ROUNDS} times each, by turns, each in a process of its own.",
        rows,
        [
            f"Tensors that differ between the two results, of both models together: {equal}.",
            "The stream holds one tensor at a time, so its memory does not grow with the model; peft holds all of it.",
        ],
    )


def measure(code: str, base: Path, adapter: Path, target: Path) -> dict[str, float]:
    """Seconds and megabytes of one process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", code + REPORT, str(base), str(adapter), str(target)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def same(one: Path, other: Path) -> int:
    """How many tensors are not equal bit for bit."""
    import torch
    from safetensors.torch import load_file

    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    names = set(first) ^ set(second)
    return len(names) + sum(not torch.equal(first[name], second[name]) for name in set(first) & set(second))


def make_large(root: Path) -> float:
    """A random Llama of 40 narrow layers in bf16 and an adapter for it, written tensor by tensor; gigabytes of it."""
    import torch

    from studio.tasks.exporting.shards import Output, write_model

    width, inner, layers = 1024, 4096, 40
    sides = {"self_attn.q_proj": (width, width), "self_attn.v_proj": (width, width), "self_attn.o_proj": (width, width)}
    sides |= {"self_attn.k_proj": (width, width), "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width)}
    sides["mlp.down_proj"] = (width, inner)
    base = [Output("model.embed_tokens.weight", torch.bfloat16, (32_000, width))]
    base.append(Output("model.norm.weight", torch.bfloat16, (width,)))
    adapter: list[Output] = []
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        for name in ("input_layernorm", "post_attention_layernorm"):
            base.append(Output(f"{prefix}.{name}.weight", torch.bfloat16, (width,)))
        for name, (rows, columns) in sides.items():
            base.append(Output(f"{prefix}.{name}.weight", torch.bfloat16, (rows, columns)))
            part = f"base_model.model.{prefix}.{name}"
            adapter.append(Output(f"{part}.lora_A.weight", torch.float32, (16, columns)))
            adapter.append(Output(f"{part}.lora_B.weight", torch.float32, (rows, 16)))
    known = {output.name: output for output in [*base, *adapter]}

    def draw(name: str) -> torch.Tensor:
        return (torch.randn(known[name].shape) * 0.02).to(known[name].dtype)

    for folder, outputs in (("base", base), ("adapter", adapter)):
        (root / folder).mkdir(parents=True)
        write_model(root / folder, outputs, draw, 10**12, lambda done, total: None)
    (root / "adapter/model.safetensors").rename(root / "adapter/adapter_model.safetensors")
    settings = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 32_000,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "dtype": "bfloat16",
    }  # fmt: skip
    (root / "base/config.json").write_text(json.dumps(settings), encoding="utf-8")
    lora = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
    (root / "adapter/adapter_config.json").write_text(json.dumps(lora), encoding="utf-8")
    return (root / "base/model.safetensors").stat().st_size / 1e9


def make_adapter(base: Path, target: Path) -> Path:
    """A random adapter of rank 16 on all linear layers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    options = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear", "init_lora_weights": False}
    torch.manual_seed(0)
    get_peft_model(model, LoraConfig(**options)).save_pretrained(target)
    return target


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
    else:
        from studio.config.workspace import Workspace
        from studio.tasks.shipped import fetch

        shipped = fetch(Workspace(ROOT))
        with tempfile.TemporaryDirectory() as folder:
            main(shipped, make_adapter(shipped, Path(folder) / "adapter"))
