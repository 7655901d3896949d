"""`studio engines`: list, install and remove the environments of libraries that cannot share Studio's."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.cli.submit import Subparsers


def add(commands: Subparsers[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    """Add the command and its own commands."""
    command = commands.add_parser("engines", help="libraries in environments of their own: list, install, remove")
    inner = command.add_subparsers(title="engines commands", metavar="COMMAND", required=True)
    inner.add_parser("list", parents=[shared], help="every engine and whether it is here").set_defaults(run=list_all)
    for name, handler, text in (
        ("install", install, "make the environment of an engine"),
        ("remove", remove, "delete the environment of an engine"),
    ):
        one = inner.add_parser(name, parents=[shared], help=text)
        one.add_argument("name", help="name of the engine")
        one.set_defaults(run=handler)


def list_all(options: argparse.Namespace) -> int:
    """Print every engine with its state."""
    from studio.cli.main import workspace
    from studio.runs.engines import ENGINES, look, size

    place = workspace(options)
    for name in ENGINES:
        found = look(place, name)
        fact = found.engine.minutes if found.state == "missing" else f"{size(place, name) / 1e9:.1f} GB"
        print(f"{name:<10}  {found.state:<10}  {fact}  {found.engine.purpose}")
    return 0


def install(options: argparse.Namespace) -> int:
    """Install an engine, with pip's words as they come."""
    from studio.cli.main import workspace
    from studio.runs.engines import install as make

    make(workspace(options), options.name, lambda line: print(line, flush=True))
    return 0


def remove(options: argparse.Namespace) -> int:
    """Remove an engine."""
    from studio.cli.main import workspace
    from studio.runs.engines import remove as drop

    print(f"{options.name} removed" if drop(workspace(options), options.name) else f"{options.name} was not there")
    return 0
