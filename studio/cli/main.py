"""The commands and their words. Heavy imports happen inside the command, so that --help answers at once."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from studio import __version__
from studio.cli import data, engines, estimate, evaluate, rewards
from studio.config.workspace import ALLOW_VARIABLE, Workspace, allowed_folders

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 it failed, 2 the words or the config are wrong."""
    parser = _parser()
    options, late = parser.parse_known_args(argv)
    _take_late_words(parser, options, late)
    if not hasattr(options, "run"):
        parser.print_help()
        return 2
    try:
        return options.run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of a pipe (head, say) went away: what it did not want to read needs no message.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _expected() as error:
        print(error, file=sys.stderr)
        return 2


def _take_late_words(parser: argparse.ArgumentParser, options: argparse.Namespace, late: Sequence[str]) -> None:
    """Words behind an option, as in `train run.yaml --detach seed=3`: argparse gives up at the option."""
    words: list[str] | None = getattr(options, "words", None)
    if wrong := [word for word in late if words is None or word.startswith("-")]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if words is not None:
        words.extend(late)


def _expected() -> tuple[type[Exception], ...]:
    """Errors that are the user's to mend: their text says how, a traceback would only hide it."""
    from studio.cli.submit import WrongWords
    from studio.config.faults import ConfigError
    from studio.config.workspace import OutsideWorkspace
    from studio.data.examples import DataError
    from studio.runs.errors import RunError

    return (WrongWords, ConfigError, OutsideWorkspace, DataError, RunError, FileNotFoundError, PermissionError)


def workspace(options: argparse.Namespace) -> Workspace:
    """The workspace that the options name: the current folder unless said otherwise. Raises WrongWords."""
    from studio.cli.submit import WrongWords

    if not Path(options.workspace).is_dir():
        raise WrongWords(f"There is no folder {options.workspace} to be the workspace. Make it, or name another one.")
    allowed = allowed_folders(getattr(options, "allow", None) or ())
    if allowed:
        os.environ[ALLOW_VARIABLE] = os.pathsep.join(map(str, allowed))
    return Workspace(Path(options.workspace), allowed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="studio", description="A training studio for language models.")
    parser.add_argument("--version", action="version", version=f"studio {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--workspace", default=".", help="folder with data/, models/ and saves/ (default: here)")
    _webui(commands, shared)
    _kinds(commands, shared)
    _jobs(commands, shared)
    data.add(commands, shared)
    engines.add(commands, shared)
    rewards.add(commands, shared)
    _small(commands, shared)
    return parser


def _later(module: str, name: str) -> Command:
    """The command `name` of studio/cli/`module`.py, which is imported when it is called: help must not wait for it."""

    def run(options: argparse.Namespace) -> int:
        command: Command = getattr(importlib.import_module(f"studio.cli.{module}"), name)
        return command(options)

    return run


def _webui(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("webui", parents=[shared], help="open the board in the browser")
    command.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; others than loopback need STUDIO_PASSWORD"
    )
    command.add_argument("--port", type=_port, default=7860, help="port to listen on (default: 7860)")
    command.add_argument("--allow", action="append", metavar="FOLDER", help="further folder that the board may read")
    command.add_argument("--open", action="store_true", help="open a browser window")
    command.set_defaults(run=_later("webui", "webui"))


def _port(text: str) -> int:
    """A port's number; 0 lets the system choose. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port: choose a number from 1024 to 65535")
    return int(text)


def _kinds(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    from studio.cli.submit import add_kind, add_words, check
    from studio.config.kinds import KINDS

    add_kind(commands, shared, "train", "start a training run and follow it")
    evaluate.add(commands, shared)
    add_kind(commands, shared, "serve", "serve a model and its adapters to OpenAI's clients")
    add_kind(commands, shared, "export", "write a model for use elsewhere: merged, quantized, GGUF")
    command = add_kind(commands, shared, "probe", "measure memory and speed of a training run in two steps")
    command.set_defaults(run=estimate.probe)
    estimate.add(commands, shared)
    command = commands.add_parser("check", parents=[shared], help="say what is wrong with a config, start nothing")
    add_words(command)
    command.add_argument("--kind", choices=tuple(KINDS), default="train", help="kind of job (default: train)")
    command.set_defaults(run=check)


def _jobs(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("jobs", help="list runs, look at them, stop and resume them")
    inner = command.add_subparsers(title="jobs commands", metavar="COMMAND", required=True)
    inner.add_parser("list", parents=[shared], help="every run and its state").set_defaults(
        run=_later("jobs", "list_jobs")
    )
    for name, text in (
        ("show", "what a run is doing and how it ended"),
        ("logs", "the log of a run"),
        ("stop", "stop a run with a checkpoint"),
        ("pause", "stop a run with a checkpoint and put it back into the queue"),
        ("resume", "go on with a run that stopped, failed, was lost or shall learn more"),
        ("save", "write a checkpoint now"),
        ("remove", "delete a run and its folder"),
    ):
        one = inner.add_parser(name, parents=[shared], help=text)
        one.add_argument("name", help="name of the run")
        one.set_defaults(run=_later("jobs", name))
        if name == "logs":
            one.add_argument("--follow", action="store_true", help="go on until the run ends")
        if name == "stop":
            one.add_argument("--now", action="store_true", help="kill it; steps since the last checkpoint are lost")
        if name == "resume":
            one.add_argument("--checkpoint", help="checkpoint-N to go on from (default: the newest complete one)")
            one.add_argument("words", nargs="*", metavar="section.field=value", help="settings to change first")
        if name == "remove":
            one.add_argument("--yes", action="store_true", help="do not ask")


def _small(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("settings", help="every setting, what it does and its default")
    command.add_argument("section", nargs="?", help="only this section, such as method")
    command.set_defaults(run=_later("settings", "settings"))
    command = commands.add_parser("doctor", parents=[shared], help="look for what keeps Studio from working here")
    command.add_argument("--port", type=_port, default=7860, help="port of the board (default: 7860)")
    command.set_defaults(run=_later("doctor", "doctor"))
    command = commands.add_parser("demo", parents=[shared], help="fine-tune the shipped model on the demo data")
    command.set_defaults(run=_later("demo", "demo"))


if __name__ == "__main__":
    sys.exit(main())
