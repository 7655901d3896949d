"""Forecast and truth: `python -m bench.memory [MODEL_FOLDER]`. The peak is that of a real worker process.

Each case is a run of two steps in a process of its own, on rows that are longer than the cutoff, so that every batch is
as heavy as the forecast says; the kernel's own count of the most memory that it held (ru_maxrss) is compared. Peaks are
kept in results/memory.json as they come: what was measured is not measured again, and a change of the forecast needs
only the table to be made anew (`--table`). Remove that file to measure all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.memory_cases import TUNED, UNSEEN
from bench.report import RESULTS, ROOT, write_result
from studio.config.io import dump, parse
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace

MB = 10**6
THREADS = "1"
PEAKS = RESULTS / "memory.json"
HEAD = ("set", "stage", "method", "base", "precision", "batch × tokens", "further", "forecast MB", "measured MB",
        "difference")  # fmt: skip


def main(model: Path, only_table: bool) -> None:
    """Measure what was not measured yet, foretell every case, write the table."""
    peaks: dict[str, int] = json.loads(PEAKS.read_text(encoding="utf-8")) if PEAKS.exists() else {}
    rows = [HEAD]
    for name, cases in (("tuned", TUNED), ("unseen", UNSEEN)):
        for case in cases:
            config = parse(case.tree())
            with tempfile.TemporaryDirectory() as folder:
                workspace = prepared(Path(folder), model)
                if case.key not in peaks and not only_table:
                    peaks[case.key] = measured(workspace, config)
                    PEAKS.write_text(json.dumps(peaks, indent=1) + "\n", encoding="utf-8")
                guess = foretold(workspace, config)
            rows.append((name, *case.shown(), *_numbers(guess, peaks.get(case.key, 0))))
            sys.stderr.write(f"{rows[-1]}\n")
    intro = f"Model: {model.name}, trained on the CPU with one thread, one worker at a time."
    write_result("memory", "python -m bench.memory", intro, rows, NOTES)


def _numbers(guess: int, truth: int) -> tuple[str, str, str]:
    if not truth:
        return f"{guess / MB:,.0f}", "not run", ""
    return f"{guess / MB:,.0f}", f"{truth / MB:,.0f}", f"{100 * (guess / truth - 1):+.1f} %"


NOTES = (
    "What of the forecast is no count (studio/tasks/forecast/parts.py: what the libraries take, and four shares of "
    "what glibc's heap holds beside the live tensors) was chosen on the set *tuned*, whose table is therefore no test. "
    "The set *unseen* was written down before any of its peaks was known; those of its first two rows were known when "
    "the shares were chosen, and no share was moved for them.",
    "Peaks of the set *tuned* were taken over a day by the same worker on the same rows; three with two threads, "
    "which made a difference of 4 % where both were tried.",
    "Two of the set *unseen* moved the forecast when they were first compared: full training with an 8-bit optimizer "
    "was 12.6 % too low (bitsandbytes keeps the moments of embeddings in 32 bits), prompt tuning 15.3 % too high (it "
    "has no small gradients that split the heap, so it counts as training without an adapter). They are no test now.",
    "GRPO and PPO had prompts shorter than the cutoff that the forecast counts with.",
    "Nothing of this was measured on a GPU: there the same counts are used, with 500 MB for the CUDA context and 5 % "
    "for the allocator, both assumptions.",
)


def prepared(root: Path, model: Path) -> Workspace:
    """A workspace with the model, and rows for each stage that are longer than any cutoff of the cases."""
    (root / "models" / "model").mkdir(parents=True)
    for file in model.iterdir():
        (root / "models" / "model" / file.name).symlink_to(file)
    words = "river stone " * 1500
    files: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "long": ([{"instruction": "Say many words.", "output": words}], {}),
        "pairs": (
            [{"instruction": "Say many words.", "chosen": words, "rejected": "stone " * 2500}],
            {"ranking": True, "columns": {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}},
        ),
        # Prompts are not cut: 30 tokens with the template around them, less than the cutoff of the cases.
        "prompts": ([{"instruction": "Go on with this without an end: river, stone,", "output": "tree"}], {}),
    }
    (root / "data").mkdir()
    registry: dict[str, Any] = {}
    for name, (rows, entry) in files.items():
        (root / "data" / f"{name}.json").write_text(json.dumps(rows * 32), encoding="utf-8")
        registry[name] = {"file_name": f"{name}.json", **entry}
    (root / "dataset_info.json").write_text(json.dumps(registry), encoding="utf-8")
    return Workspace(root)


def measured(workspace: Workspace, config: TrainConfig) -> int:
    """Bytes that the worker process held at the most. Raises RuntimeError when the run fails."""
    folder = workspace.saves / "run"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump(config), encoding="utf-8")
    (folder / "job.json").write_text(json.dumps({"name": "run", "kind": "train"}), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": THREADS}
    with (folder / "log.txt").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "studio.tasks.entry", str(folder)],
            stdout=log, stderr=log, cwd=workspace.root, env=environment,
        )  # fmt: skip
        _, status, usage = os.wait4(worker.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError((folder / "log.txt").read_text(encoding="utf-8")[-2000:])
    return usage.ru_maxrss * 1024


def foretold(workspace: Workspace, config: TrainConfig) -> int:
    """Bytes of the forecast, when the rows are as long as the cutoff."""
    from studio.tasks.desk import Desk
    from studio.tasks.forecast.question import answer

    return answer(Desk(workspace), {"config": config.model_dump(mode="json"), "device": "cpu"})["total"]


def _words() -> argparse.Namespace:
    words = argparse.ArgumentParser(prog="python -m bench.memory")
    words.add_argument("model", nargs="?", type=Path, default=ROOT / "models" / "SmolLM2-135M-Instruct")
    words.add_argument("--table", action="store_true", help="measure nothing, make the table from the kept peaks")
    return words.parse_args()


if __name__ == "__main__":
    chosen = _words()
    main(chosen.model, chosen.table)
