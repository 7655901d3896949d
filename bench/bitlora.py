"""LoRA, 1-bit and 1.58-bit BitLoRA side by side: `python -m bench.bitlora [STEPS [WORKSPACE]]`.

WORKSPACE is what `make demo` prepares. All three train the same rows in the same order on the same base in nf4, with
the settings of the published experiments: rank 32, alpha 16, dropout 0.05, paged AdamW, warmup, cosine down to 90 % of
the rate.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}

from bench.report import write_result
from studio.config.io import dump, parse
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec
from studio.tasks import train
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag

METHODS: dict[str, dict[str, Any]] = {
    "LoRA": {"type": "lora"},
    "BitLoRA, 1 bit": {"type": "bitlora", "bits": "1"},
    "BitLoRA, 1.58 bits": {"type": "bitlora", "bits": "1.58"},
}
WINDOW = 10  # steps whose losses are averaged at both ends
RATE = 2e-4


@dataclass(frozen=True)
class Course:
    """Losses of the training steps, losses on held-back rows, and seconds of the whole run."""

    losses: list[float]
    held_back: list[float]
    seconds: float


def main(steps: int, workspace: Path) -> None:
    """Train each and write the table."""
    os.environ["STUDIO_ALLOW"] = str(workspace.resolve())
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for part in ("models", "data", "dataset_info.json"):
            (root / part).symlink_to((workspace / part).resolve())
        courses = {label: course(root, f"run-{place}", steps, METHODS[label]) for place, label in enumerate(METHODS)}
    head = (
        "method", f"loss, first {WINDOW} steps", f"loss, last {WINDOW} steps", "held back, before", "held back, after",
        "seconds",
    )  # fmt: skip
    rows = [
        (
            label,
            f"{statistics.mean(found.losses[:WINDOW]):.3f}",
            f"{statistics.mean(found.losses[-WINDOW:]):.3f}",
            f"{found.held_back[0]:.3f}",
            f"{found.held_back[-1]:.3f}",
            f"{found.seconds:.0f}",
        )
        for label, found in courses.items()
    ]
    write_result(
        "bitlora",
        f"python -m bench.bitlora {steps}",
        f"SmolLM2-135M-Instruct in nf4 with double quantization on the demo's finetuning_faq and general: {steps} "
        f"steps of 4 rows, rank 32, alpha 16 and dropout 0.05 on all linear layers, paged 8-bit AdamW at {RATE:g}, "
        "warmup over 10 % of the steps, cosine down to 90 % of the rate. The same rows in the same order for all.",
        [head, *rows],
        ["The seconds say what else the machine did, not what the methods cost."],
    )


def course(root: Path, name: str, steps: int, method: dict[str, Any]) -> Course:
    """One run on the CPU, in this process."""
    folder = RunFolder(root / "saves" / name)
    folder.path.mkdir(parents=True)
    config = parse(
        {
            "model": {"path": "models/SmolLM2-135M-Instruct"},
            "data": {"datasets": ["finetuning_faq", "general"], "validation_size": 12, "cutoff_len": 256},
            "quantization": {"type": "4bit", "quant_type": "nf4", "double_quantization": True},
            "method": {**method, "rank": 32, "alpha": 16, "dropout": 0.05},
            "optimisation": {
                "learning_rate": RATE,
                "max_steps": steps,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 2,
                "optimizer": "paged_adamw_8bit",
                "lr_scheduler_type": "cosine_with_min_lr",
                "lr_scheduler_kwargs": {"min_lr_rate": 0.9},
                "warmup_steps": 0.1,
            },
            "cadence": {"save_steps": 0, "eval_steps": steps, "logging_steps": 1},
            "trackers": {"report_to": []},
            "devices": {"use": "cpu"},
            "trainer": {"eval_on_start": True},
        }
    )
    folder.write_config(dump(config))
    job = JobSpec(name=name, kind="train")
    folder.write_job(job)
    begun = time.perf_counter()
    train.run(folder, job, config, Reporter(folder), StopFlag())
    rows = [json.loads(line) for line in folder.metrics_file.read_text(encoding="utf-8").splitlines()]
    return Course(
        losses=[row["loss"] for row in rows if "loss" in row],
        held_back=[row["eval_loss"] for row in rows if "eval_loss" in row],
        seconds=time.perf_counter() - begun,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40, Path(sys.argv[2] if len(sys.argv) > 2 else "."))
