"""`studio train` and its like: from words to a queued job of any kind, then its progress in the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from studio.config.faults import ConfigError
from studio.config.io import check as examine
from studio.config.io import dump, override, parse, read_yaml
from studio.config.kinds import KINDS
from studio.config.layer_support import layer_faults
from studio.config.machine_support import machine_faults
from studio.config.quantization_support import quantization_faults
from studio.data.chosen import dataset_faults
from studio.runs.devices import has_gpu
from studio.runs.states import State


class WrongWords(ValueError):
    """The words of a command do not fit together; the text says how they would."""


def tree_of(words: Sequence[str]) -> dict[str, object]:
    """The settings that the words mean: a YAML file first, if there is one, then assignments on top.

    Raises WrongWords for no words and for a file that cannot be read, ConfigError for bad YAML and bad assignments.
    """
    if not words:
        raise WrongWords("Name a config file, settings such as model.path=models/x, or both. Examples lie in configs/.")
    files = [word for word in words if "=" not in word]
    if len(files) > 1:
        raise WrongWords(f"More than one config file was named: {', '.join(files)}. Name one.")
    text = _text_of(files[0]) if files else ""
    return override(read_yaml(text), [word for word in words if "=" in word])


def _text_of(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WrongWords(
            f"There is no config file {name}. If a setting was meant, write it as section.field=value."
        ) from None
    except UnicodeDecodeError:
        raise WrongWords(f"{name} is not a text file in UTF-8. A config is a YAML file.") from None
    except OSError as error:
        raise WrongWords(f"The config file {name} cannot be read: {error.strerror}.") from None


Subparsers = argparse._SubParsersAction  # pyright: ignore[reportPrivateUsage]


def add_kind(
    commands: Subparsers[argparse.ArgumentParser], shared: argparse.ArgumentParser, kind: str, text: str
) -> argparse.ArgumentParser:
    """Add the command that starts jobs of `kind`; its name is the last word of the kind's command. Returns its parser,
    to which a kind may add options of its own."""
    command = commands.add_parser(KINDS[kind].command[-1], parents=[shared], help=text)
    add_words(command)
    command.add_argument("--if-exists", choices=("refuse", "resume", "rename", "replace"), default="refuse",
                         help="what to do when a run of that name is there already")  # fmt: skip
    command.add_argument("--detach", action="store_true", help="queue the run and come back at once")
    command.set_defaults(run=submit, kind=kind)
    return command


def add_words(command: argparse.ArgumentParser) -> None:
    """The words that make a config: a file and settings."""
    text = "a YAML file, then settings such as method.rank=16; either may be left out"
    command.add_argument("words", nargs="*", metavar="CONFIG.yaml section.field=value", help=text)


def submit(options: argparse.Namespace) -> int:
    """Queue the job; follow it unless --detach. The exit code says how it ended."""
    from studio.cli.follow import follow
    from studio.cli.main import workspace
    from studio.runs.errors import RunExists
    from studio.runs.submission import submit_config
    from studio.runs.supervisor import Supervisor

    place = workspace(options)
    config = parse(tree_of(options.words), KINDS[options.kind].config)
    unfit = [*quantization_faults(place, config, has_gpu), *layer_faults(place, config)]
    if faults := [*dataset_faults(place, config), *unfit]:
        raise ConfigError(faults)
    supervisor = Supervisor(place)
    try:
        job = submit_config(supervisor, config, if_exists=options.if_exists)
    except RunExists as error:
        ways = "--if-exists resume, --if-exists rename or --if-exists replace"
        raise WrongWords(f"{error}\nSay which: {ways}.") from None
    print(f"{job.name}: {place.saves / job.name}", flush=True)
    if options.detach:
        return 0
    ended = follow(supervisor, job.name)
    return 0 if ended in (State.FINISHED, State.STOPPED) else 1


def check(options: argparse.Namespace) -> int:
    """Print every fault and hint, and the whole config when it is sound."""
    from studio.cli.main import workspace

    place = workspace(options)
    config, faults = examine(tree_of(options.words), KINDS[options.kind].config)
    if config is not None:
        faults += dataset_faults(place, config)
        faults += [*quantization_faults(place, config, has_gpu), *machine_faults(config, has_gpu)]
        faults += layer_faults(place, config)
    for fault in faults:
        print(f"{fault.severity}: {fault}", file=sys.stderr)
    if config is None or any(fault.severity == "fault" for fault in faults):
        return 2
    print(dump(config), end="")
    return 0
