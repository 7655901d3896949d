"""`studio rewards`: which rewards there are, and what those of a config give before anything is trained."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from studio.cli.submit import Subparsers, WrongWords, add_words

SHOWN = 60  # characters of a question or an answer in a cell


def add(commands: Subparsers[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    """The words of the command."""
    command = commands.add_parser("rewards", help="what gives points in grpo, rloo and ppo, and trying it out")
    inner = command.add_subparsers(title="rewards commands", metavar="COMMAND", required=True)
    inner.add_parser("list", help="the library and what its functions take").set_defaults(run=list_rewards)
    one = inner.add_parser("try", parents=[shared], help="points of a config's rewards on the rows' own answers")
    add_words(one)
    one.add_argument("--rows", type=_count, default=10, metavar="N", help="rows to try, evenly from all datasets")
    one.add_argument(
        "--sample", type=_count, default=0, metavar="K", help="also K answers of the base model to each row"
    )
    one.add_argument("--json", action="store_true", help="everything as JSON, uncut")
    one.set_defaults(run=try_config)


def _count(text: str) -> int:
    """A number from 1 to 200. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= 200:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 200")
    return int(text)


def list_rewards(options: argparse.Namespace) -> int:
    """Print the library."""
    from studio.config.rewards import LIBRARY

    for entry in LIBRARY:
        answer = " It needs rows with an answer of their own." if entry.needs_answer else ""
        print(f"{entry.name}: {entry.sentence}{answer}")
        for parameter in entry.parameters:
            default = "needed" if parameter.needed else f"default {json.dumps(parameter.default)}"
            print(f"    {parameter.name} ({parameter.expected}; {default}): {parameter.sentence}")
    print(
        "path/to/file.py:function: a function of your own in the workspace,\n"
        "    def function(answers: list[str], rows: list[dict], **arguments) -> list[float | None]\n"
        "    rows[i] has prompt, messages, answer (the row's own, or None), tokens and where."
    )
    return 0


def try_config(options: argparse.Namespace) -> int:
    """Print what the rewards give; 1 when one of them failed."""
    from studio.cli.main import workspace
    from studio.cli.submit import tree_of
    from studio.data.chosen import dataset_faults
    from studio.tasks.desk import Desk
    from studio.tasks.entry import quiet_libraries
    from studio.tasks.failures import TaskError
    from studio.tasks.machine import detect
    from studio.tasks.reward_trial import first_prompts, report_of, try_rewards, write_answers
    from studio.tasks.rewards.judging import load_judges

    quiet_libraries()
    desk = Desk(workspace(options))
    try:
        seen = desk.seen(tree_of(options.words))
        for fault in dataset_faults(desk.workspace, seen.config):
            raise WrongWords(str(fault))
        machine = detect(seen.config.devices.use)
        prompts = first_prompts(desk, seen, options.rows)
        judges = load_judges(seen.plan.rewards or (), desk.workspace, machine)
        written = write_answers(desk, seen, prompts, options.sample, machine) if options.sample else ()
        report = report_of(try_rewards(judges, prompts, seen.tokenizer, written))
    except TaskError as error:
        raise WrongWords(str(error)) from error
    if options.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        _print(report)
    return 1 if any(reward["error"] for reward in report["rewards"]) else 0


def _print(report: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from studio.web.words import ENGLISH, say

    def words(key: str, **values: Any) -> str:
        return say(ENGLISH, f"page.rewards.{key}", **values)

    labels = [reward["label"] for reward in report["rewards"] if not reward["error"]]
    table = Table(words("answer_of"), words("question"), words("answer"), *labels, words("total"))
    for row in report["rows"]:
        cells = [_number(row["points"][label]) for label in labels]
        source = words(f"source.{row['source']}")
        table.add_row(source, _short(row["prompt"]), _short(row["answer"]), *cells, _number(row["total"]))
    console = Console()
    console.print(table)
    for reward in report["rewards"]:
        means = ", ".join(f"{words(f'source.{key}')} {_number(reward[key])}" for key in ("own", "other", "model"))
        print(f"{reward['label']} (× {reward['weight']:g}): {reward['error'] or means}")
    for warning in report["warnings"]:
        print(words(f"warning.{warning['code']}", **_shown(warning)), file=sys.stderr)


def _shown(warning: Mapping[str, Any]) -> dict[str, Any]:
    return {key: f"{value:g}" if isinstance(value, float) else value for key, value in warning.items() if key != "code"}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
