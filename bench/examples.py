"""Every training example for a few steps, as a user would start it: `python -m bench.examples [WORKSPACE]`.

Each file of configs/ that trains is given to `studio train` with short rows and small batches. Runs stay in WORKSPACE
as example-<name>, and those that are finished are read instead of run again, so that a measurement that was broken off
goes on. Without WORKSPACE a temporary folder is used and removed.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}

import yaml

from bench.report import ROOT, write_result
from studio.config.workspace import Workspace
from studio.runs.folder import RunFolder
from studio.tasks.shipped import fetch

STEPS = 3
WORDS = (
    f"optimisation.max_steps={STEPS}", "optimisation.gradient_accumulation_steps=1", "cadence.save_steps=2",
    "data.cutoff_len=192", "trackers.report_to=[]", "devices.use=cpu",
)  # fmt: skip
ONLINE = ("grpo", "rloo", "ppo")  # their batch is that of the answers to one prompt
FURTHER = {
    "sft_checkpoint": ("model.path=exports/in-4-bits",),
    "sft_full": ("cadence.eval_steps=2",),
    "sft_adalora": ("optimisation.max_steps=4",),  # in fewer there is nothing to learn ranks from
}
LEFT_OUT = {"sft_eetq": "needs an NVIDIA GPU"}
HEAD = ("example", "stage", "method", "base", "seconds a step", "loss or reward, each step", "trained",
        "result MB", "peak MB")  # fmt: skip


def main(root: Path) -> None:
    """Run each example that has not been run yet, then write the table of all."""
    prepare(root)
    rows: list[tuple[str, ...]] = [HEAD]
    for file in sorted((ROOT / "configs").glob("*.yaml")):
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
        if "subject" in tree or "questions" in tree or "endpoint" in tree:
            continue
        kinds = {part: tree.get(part, {}).get("type") for part in ("stage", "method", "quantization")}
        start = (kinds["stage"] or "sft", kinds["method"] or "lora", kinds["quantization"] or "none")
        if reason := LEFT_OUT.get(file.stem):
            rows.append((file.stem, *start, f"not run: {reason}", "", "", "", ""))
            continue
        folder = RunFolder(root / "saves" / f"example-{file.stem}")
        if folder.end().state != "finished":
            run(root, file, folder.name, tree)
        rows.append((file.stem, *start, *found(folder)))
        sys.stderr.write(f"{rows[-1]}\n")
    write_result("examples", "python -m bench.examples", INTRO, rows, NOTES)


INTRO = (
    f"The examples of configs/ on SmolLM2-135M-Instruct on the CPU, {STEPS} steps each: rows of at most 192 tokens, 2 "
    "of them a step (8 answers a step where the model writes them, 1 row for LongLoRA), everything else as the file "
    "says."
)
NOTES = (
    "Three steps say that an example runs and what it costs here; they say nothing of how well it learns. The first "
    "step of a schedule with warmup has a rate of zero. Seconds are the median of the time between the ends of steps; "
    "peak is the most main memory that the worker's process held while training. Trained is the share of all weights "
    "that are trained, new ones counted. The result is the size of the weights that the run leaves, in 10^6 bytes.",
    "LongLoRA is made for long rows: on rows this short a group has 48 tokens, few of which see the first one, hence "
    "its loss. Prefix tuning begins with random keys and values in every layer, hence its own.",
)


def prepare(root: Path) -> None:
    """A workspace with the model that is shipped, the demo's data, and the model once more in 4 bits."""
    (root / "models").mkdir(parents=True, exist_ok=True)
    if not (root / "models" / "SmolLM2-135M-Instruct").exists():
        shutil.copytree(fetch(Workspace(ROOT)), root / "models" / "SmolLM2-135M-Instruct")
    shutil.copytree(ROOT / "data", root / "data", dirs_exist_ok=True)
    shutil.copy(ROOT / "dataset_info.json", root)
    if not (root / "exports" / "in-4-bits").exists():
        studio(
            root, "export", "subject.base=models/SmolLM2-135M-Instruct", "format.type=bitsandbytes",
            "destination.folder=exports/in-4-bits", "name=in-4-bits", "devices.use=cpu",
        )  # fmt: skip


def run(root: Path, file: Path, name: str, tree: dict[str, Any]) -> None:
    """One example by the command line."""
    words = [*WORDS, f"name={name}", *FURTHER.get(file.stem, ())]
    if tree.get("stage", {}).get("type") not in ONLINE and tree.get("method", {}).get("type") != "longlora":
        words.append("optimisation.per_device_train_batch_size=2")
    if "validation_size" in tree["data"]:
        words.append("data.validation_size=2")
    studio(root, "train", str(file), *words, "--if-exists", "replace")


def studio(root: Path, *words: str) -> None:
    """`studio` with these words in this workspace; what it says goes to the terminal. A failure is said by `found`."""
    sys.stderr.write(f"studio {' '.join(words)}\n")
    subprocess.run([sys.executable, "-m", "studio", *words], cwd=root, stdout=sys.stderr, check=False)


def found(folder: RunFolder) -> tuple[str, ...]:
    """What came out of a run, as cells; how it ended if it is not finished."""
    end, status = folder.end(), folder.status()
    if end.state != "finished":
        return (f"**{end.state or 'no run'}** {end.cause}", "", "", "", "")
    logged = [json.loads(line) for line in folder.metrics_file.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in logged if "learning_rate" in row]
    key = "reward" if "reward" in rows[0] else "loss"
    gaps = [after["time"] - before["time"] for before, after in pairwise(rows)]
    weights = sum(file.stat().st_size for file in folder.path.glob("*.safetensors"))
    share = 100 * status.parameters["trainable"] / status.parameters["total"]
    peak = max(row.get("memory_process_peak", 0) for row in rows)
    return (
        f"{statistics.median(gaps):.1f}",
        f"{key} " + ", ".join(f"{row[key]:.2f}" for row in rows if key in row),
        f"{share:.3g} %",
        f"{weights / 1e6:.3g}",
        f"{peak / 1e6:,.0f}",
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
