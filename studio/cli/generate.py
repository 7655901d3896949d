"""`studio data generate` and `studio data review`: let a model write rows, then decide which of them become data."""

from __future__ import annotations

import argparse

from studio.cli.submit import Subparsers, add_kind


def add(commands: Subparsers[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    """The words of both."""
    command = add_kind(commands, shared, "generate", "let a model behind an endpoint write rows, for a review")
    command.set_defaults(run=generate)

    command = commands.add_parser("review", parents=[shared], help="accept or reject rows that a model wrote")
    command.add_argument("name", metavar="RUN", help="name of the run that wrote them")
    rows = "all that are pending, or numbers such as 1,4,7-9"
    command.add_argument("--accept", metavar="ROWS", help=f"accept rows: {rows}")
    command.add_argument("--reject", metavar="ROWS", help=f"reject rows: {rows}")
    command.add_argument("--undo", action="store_true", help="take the last decision back")
    text = "add the accepted rows to this dataset, new or there already (default: rows.dataset)"
    command.add_argument("--to", nargs="?", const="", metavar="DATASET", help=text)
    states = ("pending", "accepted", "rejected", "added", "all")
    text = f"rows to print when nothing is decided: {', '.join(states)} (default: pending)"
    command.add_argument("--show", metavar="STATE", choices=states, default="pending", help=text)
    command.add_argument("--count", type=int, default=10, help="how many of them (default: 10)")
    command.set_defaults(run=review)


def generate(options: argparse.Namespace) -> int:
    """Queue the job like any other; what it reads must be there first."""
    from studio.cli.main import workspace
    from studio.cli.submit import submit, tree_of
    from studio.config.faults import ConfigError
    from studio.config.generate import GenerateConfig
    from studio.config.io import parse
    from studio.data.material import material_faults

    config = parse(tree_of(options.words), GenerateConfig)
    if faults := list(material_faults(workspace(options), config)):
        raise ConfigError(faults)
    return submit(options)


def review(options: argparse.Namespace) -> int:
    """Do what was decided, in the order accept, reject, undo, add; without a decision print the rows."""
    from studio.cli.main import workspace
    from studio.data.examples import DataError
    from studio.data.reviewing import Review, answered, meant_for, numbers_in

    place = workspace(options)
    folder = place.resolve(f"saves/{options.name}")
    if folder.parent != place.saves or not answered(folder):
        raise DataError(f"No rows were written by a run {options.name!r}. `studio jobs list` names the runs.")
    found = Review(folder)
    for verdict, words in (("accept", options.accept), ("reject", options.reject)):
        if words:
            found.decide(verdict, numbers_in(words, found))
    if options.undo and not found.undo():
        raise DataError("There is no decision to take back.")
    if not (options.accept or options.reject or options.undo or options.to is not None):
        _print_rows(found, options.show, options.count)
    if options.to is not None:
        taken = found.add_to(place, options.to or meant_for(folder))
        print(f"{taken.name}: {taken.rows:,} rows {'written' if taken.new else 'added'}, in data/{taken.file}")
    print(", ".join(f"{count:,} {state}" for state, count in found.counts.items()))
    return 0


def _print_rows(found: object, state: str, count: int) -> None:
    from studio.data.reviewing import Review, page_of

    assert isinstance(found, Review)
    rows, total = page_of(found.rows, "" if state == "all" else state, 0, max(0, count))
    for one in rows:
        edited = ", edited" if one.edited else ""
        print(f"row {one.number} ({one.state}{edited}), from {one.request.origin}")
        for role, words in one.row.messages:
            print(f"  {role}: {words}")
        for name, words in (("chosen", one.row.chosen), ("rejected", one.row.rejected)):
            if words:
                print(f"  {name}: {words}")
    if total > len(rows):
        print(f"and {total - len(rows):,} more (--count {total})")
