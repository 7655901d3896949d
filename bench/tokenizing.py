"""How fast rows become tokens: `python -m bench.tokenizing [--rival PYTHON] [--rows N] [--rounds N] [--data FILE]`.

Three sides take the same rows by turns: the fast tokenizer alone, called once with all texts (which somebody else has
rendered); Studio; and, where `--rival` names a Python that has LLaMA-Factory, its preprocessing. Each ratio is taken
within a round, so that it does not move with what else the machine does. The rows are prose from Python's own
documentation, cut by seed to the lengths that rows of the alpaca set have; `--data` takes a jsonl of such rows instead.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import pydoc_data.topics
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

from bench.report import ROOT, spread, write_result
from studio.config.io import parse
from studio.config.workspace import Workspace
from studio.runs.folder import RunFolder
from studio.tasks.arguments import Plan, plan
from studio.tasks.dataset import prepare, read_rows, tokenized
from studio.tasks.machine import detect
from studio.tasks.model import load_tokenizer
from studio.tasks.shipped import fetch
from studio.tasks.status import Reporter
from studio.tasks.token_file import write_rows
from studio.tasks.tokenize import Settings, TokenizedRow

# Words in 999 rows of the alpaca set (English): the least, then every 20th part, up to the most.
ASKED = [4, 6, 7, 7, 8, 9, 9, 10, 10, 11, 12, 12, 13, 14, 15, 16, 18, 21, 24, 31, 130]
ANSWERED = [1, 6, 8, 10, 13, 19, 24, 33, 46, 60, 81, 98, 118, 137, 170, 199, 224, 246, 279, 305, 429]

RIVAL_WORKERS = (0, 2)  # its default, one process, and as many processes as there are cores


def main(options: argparse.Namespace) -> None:
    """Measure and say so."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name))
        write_dataset(workspace.root, list(itertools.islice(rows(options.data), options.rows)))
        model = Path(options.model).resolve() if options.model else fetch(Workspace(ROOT))
        sides = Sides(workspace, model, options.rival)
        for number in range(options.rounds):
            sys.stderr.write(f"round {number + 1} of {options.rounds}\n")
            sides.measure()
    report(sides, options)


def rows(data: Path | None) -> Iterator[dict[str, str]]:
    """Rows without end: those of a file again and again, or prose of the lengths above."""
    if data:
        yield from itertools.cycle([json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()])
    draw, words = random.Random(0), [word for text in pydoc_data.topics.topics.values() for word in text.split()]

    def prose(lengths: list[int]) -> str:
        place = draw.random() * (len(lengths) - 1)
        low, high = lengths[int(place)], lengths[int(place) + 1]
        start = draw.randrange(len(words) - lengths[-1])
        return " ".join(words[start : start + round(low + (high - low) * (place % 1))])

    while True:
        yield {"instruction": prose(ASKED), "input": "", "output": prose(ANSWERED)}


def write_dataset(folder: Path, made: list[dict[str, str]]) -> None:
    """The dataset `bench`, for both studios."""
    (folder / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    (folder / "dataset_info.json").write_text('{"bench": {"file_name": "bench.jsonl"}}', encoding="utf-8")


class Sides:
    """What is measured, and the seconds of every round by what was measured."""

    def __init__(self, workspace: Workspace, model: Path, rival: str | None) -> None:
        self.workspace, self.model, self.rival = workspace, model, rival
        self.seconds: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}  # the same in seconds of the processor, of all cores together
        self.facts: dict[str, Any] = {}
        self.todo = planned(model, workspace)
        self.settings = Settings(**self.todo.tokenize)
        self.tokenizer = load_tokenizer(str(model), self.todo.model)
        self.examples, _ = read_rows(workspace, self.todo.data)
        # The tokenizer alone gets its texts ready made.
        self.texts = [
            self.tokenizer.apply_chat_template(
                [{"role": message.role, "content": message.content} for message in example.messages], tokenize=False
            )
            for example in self.examples
        ]

    def measure(self) -> None:
        """Every side once."""
        with threads():
            self.time("tokenizer", lambda: self.tokenizer(self.texts, add_special_tokens=False))
        self.time("studio", self.tokenize)
        for run in ("whole", "again"):
            self.time(run, self.prepare)
        for entry in (self.workspace.cache / "tokens").iterdir():
            entry.rename(self.workspace.root / f"old-{time.monotonic_ns()}")
        if self.rival:
            self.measure_rival(self.rival)

    def time(self, name: str, work: Callable[[], Any]) -> None:
        """Add the seconds of one call."""
        begun, cpu = time.perf_counter(), time.process_time()
        work()
        self.add(name, time.perf_counter() - begun, time.process_time() - cpu)

    def add(self, name: str, seconds: float, cpu: float) -> None:
        """One more measurement."""
        self.seconds.setdefault(name, []).append(seconds)
        self.cpu.setdefault(name, []).append(cpu)

    def tokenize(self) -> None:
        """From Examples to the arrow file that the trainer maps into memory."""
        file = self.workspace.root / "rows.arrow"
        outcomes = tokenized(
            self.examples,
            1,
            lambda done, total: None,
            tokenizer=self.tokenizer,
            template=self.tokenizer.chat_template,
            settings=self.settings,
        )
        account = write_rows((row for row in outcomes if isinstance(row, TokenizedRow)), file, self.settings)
        self.facts |= {"rows": account.kept, "tokens": account.tokens}

    def prepare(self) -> None:
        """All that a run does between its start and its training data."""
        reporter = Reporter(RunFolder(self.workspace.root))
        template = self.tokenizer.chat_template
        prepare(self.workspace, self.todo.data, self.tokenizer, template, self.settings, reporter)

    def measure_rival(self, python: str) -> None:
        """LLaMA-Factory's turn, in its own environment; its import is not counted."""
        script, folder = Path(__file__).with_name("tokenizing_rival.py"), str(self.workspace.root)
        command = [python, str(script), folder, str(self.model), *map(str, RIVAL_WORKERS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"The rival failed:\n{done.stderr[-3000:]}")
        answer = json.loads(done.stdout.splitlines()[-1])
        for workers, result in zip(RIVAL_WORKERS, answer["results"], strict=True):
            self.add(f"rival {workers}", *result["tokenizing"])
            self.add(f"rival {workers} whole", *result["whole"])
            self.facts |= {"rival tokens": result["tokens"], "rival rows": result["rows"]}
        self.facts["rival version"] = answer["version"]


@contextmanager
def threads() -> Iterator[None]:
    """The tokenizer's own threads, for the side that is the tokenizer alone."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    yield
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def planned(model: Path, workspace: Workspace) -> Plan:
    """The plan of a run on the dataset."""
    config = parse({"model": {"path": str(model)}, "data": {"datasets": ["bench"], "cutoff_len": 1024}})
    return plan(config, detect("cpu"), workspace.root)


# What is measured: how the table calls it, and which of Studio's measurements it is held against.
MEASURED = {
    "tokenizer": ("the tokenizer alone, one call", "studio"),
    "studio": ("Studio: rows to an arrow file", None),
    "rival 0": ("LLaMA-Factory: its tokenizing step, as it comes", "studio"),
    "rival 2": ("LLaMA-Factory: the same, 2 processes", "studio"),
    "whole": ("Studio: reading, key, tokenizing, check", None),
    "rival 0 whole": ("LLaMA-Factory: reading and tokenizing, as it comes", "whole"),
    "rival 2 whole": ("LLaMA-Factory: the same, 2 processes", "whole"),
    "again": ("Studio: the same from the cache", None),
}


def report(sides: Sides, options: argparse.Namespace) -> None:
    """The table: seconds of each side, and Studio's over each of the others', round by round."""
    table = [
        (
            "what",
            "seconds: median",
            "least",
            "most",
            "of processor",
            "Studio takes: median",
            "least",
            "most",
            "of processor",
        )
    ]
    for key, (title, own) in MEASURED.items():
        if key in sides.seconds:
            shares = ("", "", "", "")
            if own:
                shares = (
                    *spread(shares_of(sides.seconds, own, key)),
                    f"{statistics.median(shares_of(sides.cpu, own, key)):.2f}",
                )
            table.append((title, *spread(sides.seconds[key]), f"{statistics.median(sides.cpu[key]):.2f}", *shares))
    facts = sides.facts
    notes = [
        f"{facts['rows']:,} rows, {facts['tokens']:,} tokens, {facts['tokens'] / facts['rows']:.0f} a row. Studio: "
        f"{facts['rows'] / statistics.median(sides.seconds['studio']):,.0f} rows a second.",
        "The last four columns: what Studio takes over what the line's side takes, within a round; on a busy machine "
        "the processor's seconds say more. Goals: at most 1.5 of the tokenizer alone, at most 1 of LLaMA-Factory.",
    ]
    if "rival version" in facts:
        notes.insert(
            1,
            f"LLaMA-Factory {facts['rival version']}: {facts['rival rows']:,} rows, "
            f"{facts['rival tokens']:,} tokens (it trains on the line break behind an answer too).",
        )
    command = f"python -m bench.tokenizing --rows {options.rows} --rounds {options.rounds}"
    source = "rows of a given file, again and again" if options.data else "made-up rows of the alpaca set's lengths"
    write_result(
        "tokenizing",
        command + (" --rival PYTHON" if options.rival else "") + (" --data FILE" if options.data else ""),
        f"{options.rows:,} {source}, {sides.model.name}'s tokenizer, {options.rounds} rounds, by turns.",
        table,
        notes,
    )


def shares_of(measured: dict[str, list[float]], own: str, other: str) -> list[float]:
    """What Studio took over what the other took, round by round."""
    return [mine / theirs for mine, theirs in zip(measured[own], measured[other], strict=True)]


def words() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="How fast rows become tokens.")
    parser.add_argument("model", nargs="?", help="folder of a model; the shipped one is fetched otherwise")
    parser.add_argument("--rival", metavar="PYTHON", help="Python of an environment with llamafactory in it")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="jsonl of alpaca rows to take in place of made-up ones"
    )
    return parser.parse_args()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main(words())
