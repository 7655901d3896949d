"""`studio evaluate`: what a model is worth, as a job; scoring saved answers anew, and a report of them."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

from studio.cli.submit import Subparsers, WrongWords, add_kind
from studio.config.workspace import Workspace


def add(commands: Subparsers[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    """The words of the command."""
    command = add_kind(commands, shared, "evaluate", "ask models the rows of datasets and score their answers")
    command.add_argument("--tasks", metavar="A,B", help="benchmarks of lm-eval to run, as benchmarks.tasks=[A, B]")
    command.add_argument("--rescore", metavar="RUN", help="score the saved answers of a run anew; nothing is generated")
    command.add_argument("--report", metavar="RUN", help="write report.html, scores.csv and rows.csv of a run")
    command.set_defaults(run=evaluate)


def evaluate(options: argparse.Namespace) -> int:
    """Queue the evaluation and print its table when it has ended; or work on what a run has saved."""
    from studio.cli.main import workspace
    from studio.cli.submit import submit, tree_of
    from studio.config.evaluate import EvaluateConfig
    from studio.config.io import parse, spell
    from studio.config.naming import name_for

    if options.rescore or options.report:
        return _work_on_saved(options, workspace(options))
    if options.tasks:
        options.words.append(f"benchmarks.tasks=[{options.tasks}]")
    name = name_for(parse(tree_of(options.words), EvaluateConfig), datetime.now())
    options.words.append(f"name={spell(name)}")  # so that its folder is known here
    code = submit(options)
    if not options.detach and options.if_exists != "rename":
        print_table(workspace(options).saves / name)
    return code


def _work_on_saved(options: argparse.Namespace, place: Workspace) -> int:
    if options.rescore:
        _rescore(_folder(place, options.rescore), options.words)
    if options.report:
        _report(_folder(place, options.report))
    return 0


def _folder(place: Workspace, name: str) -> Path:
    """The folder of a run that has answers or results. Raises WrongWords."""
    from studio.runs.evaluation_results import LOSSES, PREDICTIONS, RESULTS

    folder = place.resolve(f"saves/{name.removeprefix('saves/').rstrip('/')}")
    if folder.parent != place.saves or not any((folder / file).is_file() for file in (PREDICTIONS, LOSSES, RESULTS)):
        raise WrongWords(f"No evaluation {name!r} has saved anything. `studio jobs list` names the runs.")
    return folder


def _rescore(folder: Path, words: list[str]) -> None:
    """Score what is there by the run's own config with `words` on top, and print the table."""
    from studio.config.evaluate import EvaluateConfig
    from studio.config.io import load_config
    from studio.runs.evaluation_results import results
    from studio.runs.folder import RunFolder
    from studio.tasks.evaluating.scoring import score

    config = load_config(RunFolder(folder).config_file, words, EvaluateConfig)
    known = results(folder)
    score(folder, config, known.notices if known else RunFolder(folder).status().notices)
    print_table(folder)


def _report(folder: Path) -> None:
    from studio.runs.atomic import write_text
    from studio.runs.evaluation_report import report
    from studio.runs.evaluation_results import results, rows_csv, scores_csv

    page, found = report(folder, folder.name), results(folder)
    write_text(folder / "report.html", page)
    write_text(folder / "rows.csv", rows_csv(folder))
    if found is not None:
        write_text(folder / "scores.csv", scores_csv(found))
    print(folder / "report.html")


def print_table(folder: Path) -> None:
    """The scores with their intervals, one line each; a star marks what differs from the first beyond chance."""
    from rich.console import Console
    from rich.table import Table

    from studio.runs.evaluation_results import ALL, results

    found = results(folder)
    if found is None:
        return
    dataset = ALL if len(found.datasets) > 1 else next(iter(found.datasets), "")
    beyond = {(one.first, one.score) for one in found.comparisons if one.beyond and one.dataset == dataset
              and one.second == found.candidates[0]}  # fmt: skip
    table = Table("", *found.candidates, caption="* differs from the first beyond the 95 % interval")
    for name in found.names:
        cells: list[str] = []
        for candidate in found.candidates:
            one = found.score(candidate, dataset, name)
            star = "*" if (candidate, name) in beyond else ""
            cells.append(f"{one.value:.4g}{star} ({one.low:.4g} to {one.high:.4g})" if one else "")
        table.add_row(name, *cells)
    for one in found.benchmarks:
        table.add_row(f"{one.get('task')}: {one.get('metric')}", f"{one.get('candidate')}: {one.get('value')}")
    Console().print(table)
