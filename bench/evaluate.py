"""How fast answers are written: `python -m bench.evaluate [--rival PYTHON] [--rounds N] [--threads N]`.

Sixteen questions, 64 new tokens each, greedy, from the start of the process to the scores, by turns with the rival
where `--rival` names a Python that has LLaMA-Factory: the ratio of each round is taken from neighbours in time, so that
other work on the machine disturbs both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from bench.report import ROOT, spread, write_result
from studio.config.evaluate import EvaluateConfig
from studio.config.io import dump, parse
from studio.config.workspace import Workspace
from studio.runs.evaluation_results import predictions
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec
from studio.tasks.shipped import fetch

ROWS, TOKENS, BOARD_BATCH = 16, 64, 2
SCORES = ["llamafactory_rouge_1", "llamafactory_rouge_2", "llamafactory_rouge_l", "llamafactory_bleu_4"]


@dataclass(frozen=True)
class Timing:
    """Seconds of writing answers, of the whole process, and of the processors for the whole process."""

    answers: float
    whole: float
    processors: float


@dataclass(frozen=True)
class Bench:
    """A workspace with the model and the rows, and the environment that all processes share."""

    root: Path
    model: Path
    environment: dict[str, str]

    def studio(self, batch: int, **model: str) -> Timing:
        """One evaluation by Studio's worker."""
        folder = RunFolder(Path(tempfile.mkdtemp(dir=self.root / "saves")))
        tree = {
            "model": {"path": str(self.model), **model},
            "questions": {"datasets": ["rows"], "max_samples": ROWS},
            "decoding": {"max_new_tokens": TOKENS, "batch_size": batch},
            "scores": {"names": SCORES, "loss": False},
            "devices": {"use": "cpu"},
        }
        folder.write_config(dump(parse(tree, EvaluateConfig)))
        folder.write_job(JobSpec(name=folder.name, kind="evaluate"))
        spent = self._run([sys.executable, "-m", "studio.tasks.entry", str(folder.path)])
        answers = predictions(folder.path)[0]
        if len(answers) != ROWS:
            raise SystemExit(f"{len(answers)} of {ROWS} rows were answered: {folder.path}")
        return Timing(sum(answer.seconds for answer in answers), *spent)

    def rival(self, python: str, batch: int, dtype: str) -> Timing:
        """The same by LLaMA-Factory's predict."""
        output = Path(tempfile.mkdtemp(dir=self.root))
        settings = {
            "stage": "sft",
            "do_predict": True,
            "predict_with_generate": True,
            "finetuning_type": "lora",
            "model_name_or_path": str(self.model),
            "template": "smollm2",
            "dataset_dir": str(self.root),
            "eval_dataset": "rows",
            "max_samples": ROWS,
            "cutoff_len": 1024,
            "per_device_eval_batch_size": batch,
            "max_new_tokens": TOKENS,
            "do_sample": False,
            "infer_dtype": dtype,
            "output_dir": str(output / "out"),
            "report_to": "none",
        }
        file = output / "predict.yaml"
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        spent = self._run([python, "-m", "llamafactory.cli", "train", str(file)])
        found = json.loads((output / "out" / "all_results.json").read_text(encoding="utf-8"))
        return Timing(float(found["predict_runtime"]), *spent)

    def _run(self, command: Sequence[str]) -> tuple[float, float]:
        """Seconds by the clock and of the processors."""
        start, log = time.perf_counter(), self.root / "log.txt"
        with log.open("wb") as file:
            process = subprocess.Popen(command, cwd=self.root, env=self.environment, stdout=file, stderr=file)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text(encoding='utf-8')[-3000:]}")
        return time.perf_counter() - start, used.ru_utime + used.ru_stime


def main(options: argparse.Namespace) -> None:
    """Measure by turns and say so."""
    with tempfile.TemporaryDirectory() as name:
        bench = _prepare(Path(name), options)
        sides: dict[str, Callable[[], Timing]] = {"Studio, as it comes": lambda: bench.studio(0)}
        if options.rival:
            sides[f"LLaMA-Factory, batch {BOARD_BATCH} (its board's default)"] = partial(
                bench.rival, options.rival, BOARD_BATCH, "auto"
            )
            sides[f"LLaMA-Factory, batch {ROWS}"] = partial(bench.rival, options.rival, ROWS, "auto")
            sides[f"LLaMA-Factory, batch {ROWS}, bfloat16"] = partial(bench.rival, options.rival, ROWS, "bfloat16")
        sides["Studio, float32"] = lambda: bench.studio(0, dtype="float32")
        sides[f"Studio, {BOARD_BATCH} rows at a time"] = lambda: bench.studio(BOARD_BATCH)
        timings: dict[str, list[Timing]] = {side: [] for side in sides}
        for number in range(options.rounds):
            for side, measure in sides.items():
                timings[side].append(measure())
                last = timings[side][-1]
                print(f"round {number + 1}: {side}: {last}", file=sys.stderr)
    _write(timings, options)


def _prepare(root: Path, options: argparse.Namespace) -> Bench:
    model = Path(options.model) if options.model else fetch(Workspace(ROOT))
    for folder in ("data", "saves"):
        (root / folder).mkdir()
    rows = json.loads((ROOT / "data" / "finetuning_faq.json").read_text(encoding="utf-8"))[:ROWS]
    for place in (root / "data" / "rows.json", root / "rows.json"):  # the rival looks beside dataset_info.json
        place.write_text(json.dumps(rows), encoding="utf-8")
    (root / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["OMP_NUM_THREADS"] = str(options.threads)
    return Bench(root, model.resolve(), environment)


def _write(timings: dict[str, list[Timing]], options: argparse.Namespace) -> None:
    first = next(iter(timings.values()))
    head = (
        "side",
        "answers: median s",
        "least",
        "most",
        "rows/s (best)",
        "ratio",
        "whole: least s",
        "processors: least s",
    )
    rows: list[tuple[str, ...]] = [head]
    for side, found in timings.items():
        ratios = [own.answers / ours.answers for own, ours in zip(found, first, strict=True)]
        best, ratio = ROWS / min(own.answers for own in found), spread(ratios)[0]
        whole, processors = (
            f"{min(times):.1f}" for times in zip(*((t.whole, t.processors) for t in found), strict=True)
        )
        rows.append((side, *spread([own.answers for own in found], 1), f"{best:.2f}", ratio, whole, processors))
    write_result(
        "evaluate",
        "python -m bench.evaluate" + (" --rival PYTHON" if options.rival else "") + f" --threads {options.threads}",
        f"{ROWS} rows of data/finetuning_faq.json, {TOKENS} new tokens each, greedy, {options.rounds} rounds by turns, "
        f"{options.threads} thread(s) each. *Answers* is the time of generating, *whole* from the start of the process "
        "to the scores, *processors* the seconds that the processors worked for it, which other work on the machine "
        "hardly disturbs. The ratio is the median over the rounds of this side's time for the answers to that of the "
        "first side in the same round.",
        rows,
        [
            "Studio as it comes: bfloat16 where the processor multiplies it, as many rows at a time as fit; "
            "LLaMA-Factory: float32 on a CPU unless `infer_dtype` says otherwise."
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rival", help="a Python that has llamafactory with jieba, nltk and rouge-chinese")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--model", help="folder of the model (default: the shipped one)")
    main(parser.parse_args())
