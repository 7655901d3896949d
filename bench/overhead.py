"""What a run costs beside the same trainer in a plain script: `python -m bench.overhead [STEPS [MODEL_FOLDER]]`.

Both train the same rows in the same order with the same arguments, by turns in one process. Two numbers come out: the
quotient of the best times, and the time that Studio's own hooks took, measured in the very run; the second is not
disturbed by what else the machine does.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}

from peft import LoraConfig, get_peft_model
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from bench.report import ROOT, write_result
from studio.config.io import parse
from studio.config.workspace import Workspace
from studio.runs.folder import RunFolder
from studio.tasks.arguments import Plan, plan
from studio.tasks.dataset import Prepared
from studio.tasks.machine import detect
from studio.tasks.model import load_model, load_tokenizer
from studio.tasks.order import epoch_order
from studio.tasks.recorder import Recorder
from studio.tasks.samples import Sampler
from studio.tasks.shipped import fetch
from studio.tasks.stages import sft
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag
from studio.tasks.tokenize import Settings, tokenize_example
from studio.tasks.trainer import Meter, SortedTrainer

ROUNDS = 3


def main(model_folder: Path, steps: int) -> None:
    """Measure and say so."""
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        config = parse(
            {
                "model": {"path": str(model_folder)},
                "data": {"datasets": ["bench"], "cutoff_len": 256},
                "optimisation": {
                    "max_steps": steps,
                    "per_device_train_batch_size": 2,
                    "gradient_accumulation_steps": 1,
                },
                "cadence": {"save_steps": 0},
                "trackers": {"report_to": []},
                "devices": {"use": "cpu"},
            }
        )
        todo = plan(config, detect("cpu"), folder.path)
        tokenizer = load_tokenizer(str(model_folder), todo.model)
        prepared = rows(tokenizer, todo, steps * 4)
        spent = count_hooks()
        pairs = [(plain(todo, tokenizer, prepared), studio(todo, tokenizer, prepared, folder)) for _ in range(ROUNDS)]
    best_plain, best_studio = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    hooks = sum(spent) / ROUNDS
    write_result(
        "overhead",
        f"python -m bench.overhead {steps}",
        f"{steps} steps of LoRA on {model_folder.name} on the CPU, {ROUNDS} times each, by turns.",
        [
            ("what", "number"),
            ("plain script, best of all (s)", f"{best_plain:.2f}"),
            ("Studio, best of all (s)", f"{best_studio:.2f}"),
            ("the one over the other", f"{100 * (best_studio / best_plain - 1):+.2f} %"),
            ("Studio's hooks, a step (ms)", f"{1000 * hooks / steps:.2f}"),
            ("Studio's hooks, share of the run", f"{100 * hooks / best_studio:.2f} %"),
        ],
        ["Goal: at most 1 %. The quotient moves with whatever else the machine does; the hooks' share does not."],
    )


def rows(tokenizer: Any, todo: Plan, count: int) -> Prepared:
    """Enough rows of mixed lengths for all steps."""
    from datasets import Dataset

    from studio.data.examples import Example, Message

    settings, made = Settings(**todo.tokenize), []
    for number in range(count):
        talk = (Message("user", f"Count to {number}."), Message("assistant", "one two three " * (number % 20 + 1)))
        made.append(tokenize_example(Example("bench", number, talk), tokenizer, tokenizer.chat_template, settings))
    columns = {"input_ids": [row.input_ids for row in made], "labels": [row.labels for row in made]}
    return Prepared(Dataset.from_dict(columns), None, None, None)  # type: ignore[arg-type]


def plain(todo: Plan, tokenizer: Any, prepared: Prepared) -> float:
    """Seconds of the plain script: the rows lie in the order in which the other side will draw them."""
    lengths = [len(ids) for ids in prepared.train["input_ids"]]
    order = epoch_order(len(lengths), lengths, todo.trainer["per_device_train_batch_size"], todo.trainer["seed"], 0)
    trainer = SFTTrainer(
        model=fresh(todo),
        args=SFTConfig(**{**todo.trainer, "train_sampling_strategy": "sequential", "save_strategy": "no"}),
        train_dataset=prepared.train.select(order),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer.train().metrics["train_runtime"]


def studio(todo: Plan, tokenizer: Any, prepared: Prepared, folder: RunFolder) -> float:
    """Seconds of the same with everything that a run does at each step."""
    meter, reporter = Meter(), Reporter(folder)
    recorder = Recorder(folder, reporter, StopFlag(), meter)
    sampler = Sampler(folder.path / "samples.jsonl", tokenizer, tokenizer.chat_template, [], 1)
    trainer = sft.build(fresh(todo), tokenizer, prepared, todo, [recorder, sampler], reporter, meter)
    # The checkpoint at the end is no cost of a step; the plain side writes none.
    trainer._save_checkpoint = lambda *arguments: None
    return trainer.train().metrics["train_runtime"]


def fresh(todo: Plan) -> Any:
    """The model with a new adapter."""
    from transformers import set_seed

    set_seed(todo.process["seed"])
    model = load_model(todo.model["path"], todo.model, None, detect("cpu"))
    return get_peft_model(model, LoraConfig(**todo.method["lora"]))


def count_hooks() -> list[float]:
    """A list to which every call of one of the recorder's hooks adds its seconds from now on."""
    spent: list[float] = []
    for name in ("on_step_begin", "on_step_end", "on_log"):
        setattr(Recorder, name, timed(getattr(Recorder, name), spent))
    order = SortedTrainer._get_train_sampler
    SortedTrainer._get_train_sampler = timed(order, spent)
    return spent


def timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """`function`, with its seconds added to `spent`."""

    @wraps(function)
    def call(*positional: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        try:
            return function(*positional, **options)
        finally:
            spent.append(time.perf_counter() - begun)

    return call


if __name__ == "__main__":
    folder = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else fetch(Workspace(ROOT))
    main(folder, int(sys.argv[1]) if len(sys.argv) > 1 else 20)
