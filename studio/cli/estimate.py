"""`studio estimate`: how much memory a training run will take, by part, and whether it fits; nothing is started.
`studio probe` measures it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from studio.cli.submit import Subparsers, add_words

GB = 2**30  # as on the page


def add(commands: Subparsers[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    """The words of `studio estimate`."""
    command = commands.add_parser("estimate", parents=[shared], help="memory of a training run before it starts")
    add_words(command)
    command.add_argument("--json", action="store_true", help="print the numbers for programs, in bytes")
    command.add_argument("--fit", action="store_true", help="propose the smallest change that makes it fit")
    command.set_defaults(run=estimate)


def estimate(options: argparse.Namespace) -> int:
    """Print the forecast; 0 when the run fits into the device's free memory, 1 when it does not, 2 without one."""
    from studio.cli.main import workspace
    from studio.cli.submit import tree_of
    from studio.config.io import parse
    from studio.runs.environment import NO_TELEMETRY
    from studio.runs.forecasts import fitted, forecast, place_of

    room = workspace(options)
    config = parse(tree_of(options.words))
    place = place_of(config)
    os.environ.update(NO_TELEMETRY)

    from studio.tasks.desk import Desk
    from studio.tasks.failures import explain
    from studio.tasks.inspect import QUESTIONS

    desk = Desk(room)

    def ask(question: str, body: dict[str, Any]) -> dict[str, Any]:
        reply: Any = QUESTIONS[question](desk, body)
        return reply

    try:
        made = forecast(ask, config, place)
        wanted = options.fit and not made["fits"]
        change = fitted(ask, config, place) if wanted else None
    except (RuntimeError, OSError, ValueError, KeyError, NotImplementedError) as error:
        failure = explain(error)
        print(f"{failure.cause} {failure.advice}".strip(), file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({**made, "fit": change}, indent=2))
    else:
        print("\n".join([*lines(made), *(fit_lines(change) if change else ())]))
    return 0 if made["fits"] else 1


def probe(options: argparse.Namespace) -> int:
    """Queue a probe, follow it, print what it measured, and remove its folder: the numbers are kept elsewhere."""
    from studio.cli.follow import follow
    from studio.cli.main import workspace
    from studio.cli.submit import tree_of
    from studio.config.faults import ConfigError
    from studio.config.io import parse
    from studio.config.probe import probe_of
    from studio.data.chosen import dataset_faults
    from studio.runs.peaks import of_run
    from studio.runs.states import State
    from studio.runs.submission import submit_config
    from studio.runs.supervisor import Supervisor

    room = workspace(options)
    config = probe_of(parse(tree_of(options.words)))
    if faults := dataset_faults(room, config):
        raise ConfigError(faults)
    supervisor = Supervisor(room)
    job = submit_config(supervisor, config, if_exists="rename")
    print(f"{job.name}: {room.saves / job.name}", flush=True)
    if options.detach:
        return 0
    if follow(supervisor, job.name) is not State.FINISHED:
        return 1
    found = of_run(room, job.name)
    supervisor.remove(job.name)
    if found is None:
        print("Nothing was measured: the run logged no step.", file=sys.stderr)
        return 1
    print(f"{found.peak / GB:.2f} GB at the most, {found.tokens_per_second:,.0f} tokens/s.")
    if found.forecast:
        print(f"Foretold: {found.forecast / GB:.2f} GB ({found.forecast / found.peak - 1:+.1%}).")
    print(f"{found.seconds_per_step:.2f} s a step of {found.rows_a_step} rows; longest row {found.longest:,} tokens.")
    return 0


def lines(made: dict[str, Any]) -> Iterator[str]:
    """The forecast as a table, then what it rests on."""
    for part, size in made["parts"].items():
        if size:
            yield f"  {part:<12}{size / GB:>9.2f} GB"
    yield f"  {'together':<12}{made['total'] / GB:>9.2f} GB at the worst moment ({made['moment']})"
    fits = "fits" if made["fits"] else "does not fit"
    room = f"{made['free'] / GB:.2f} GB of {made['memory'] / GB:.2f} free"
    yield f"{made['device']} ({made['label']}): {room}; it {fits}."
    batch, rows = made["batch"], made["rows"]
    basis = "counted rows" if made["known"] else "the cutoff, as the tokens of the rows were not counted yet"
    yield f"Batch: {batch['rows']} rows of {batch['length']:,} tokens, from {basis}."
    if rows:
        yield f"Rows: {rows['kept']:,} of {rows['rows']:,}, {rows['cut']:,} cut, {rows['dropped']:,} left out."
    if made["steps"]:
        tokens = f", {made['tokens']:,} tokens" if made["tokens"] else ""
        yield f"Steps: {made['steps']:,}{tokens}."
    found = made["measured"]
    if found:
        foretold = found["forecast"] or made["total"]
        yield (
            f"Measured by {found['run']}: {found['peak'] / GB:.2f} GB, foretold {foretold / GB:.2f} GB "
            f"({foretold / found['peak'] - 1:+.1%}); {found['tokens_per_second']:,.0f} tokens/s."
        )
    if made["seconds"]:
        yield f"Time to the end at that speed: {made['seconds'] / 60:,.1f} minutes."


def fit_lines(change: dict[str, Any]) -> Iterator[str]:
    """What would make it fit."""
    sizes = f"{change['before'] / GB:.2f} GB becomes {change['after'] / GB:.2f} GB"
    if not change["fits"]:
        yield f"Nothing makes it fit: with everything that saves memory, {sizes}. Choose a smaller model."
        return
    yield f"To make it fit ({sizes}):"
    yield from (f"  {path}={value}" for path, value in change["changes"].items())
