"""`studio data`: look at datasets, check them, and make new ones from them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import datetime

from studio.cli import generate, tokens
from studio.config.workspace import Workspace

_SIZES = ("B", "KB", "MB", "GB")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    """The words of `studio data`."""
    shared = _with_allowed(shared)
    command = commands.add_parser("data", help="list datasets, check them, preview and convert them")
    inner = command.add_subparsers(title="data commands", metavar="COMMAND", required=True)

    one = inner.add_parser("list", parents=[shared], help="every dataset, its format, rows and size")
    one.set_defaults(run=list_datasets)

    one = inner.add_parser("check", parents=[shared], help="what is wrong with a dataset, with file and line")
    one.add_argument("name", help="name of the dataset")
    one.add_argument("--against", action="append", default=[], metavar="NAME", help="evaluation set to compare with")
    one.add_argument("--cutoff", type=int, metavar="TOKENS", help="name rows that are longer, by an estimate")
    one.add_argument("--no-near", action="store_true", help="do not look for near duplicates")
    one.add_argument("--remove", metavar="KINDS", help="findings whose rows --to leaves out, such as broken,duplicate")
    one.add_argument("--to", metavar="NEW", help="name of the new dataset without these rows")
    one.set_defaults(run=check)

    one = inner.add_parser("preview", parents=[shared], help="what a dataset's rows become")
    one.add_argument("name", help="name of a dataset, or a file of the workspace whose format is then detected")
    one.add_argument("--start", type=int, default=1, help="first row (default: 1)")
    one.add_argument("--count", type=int, default=3, help="how many (default: 3)")
    one.set_defaults(run=preview)

    one = inner.add_parser("convert", parents=[shared], help="write a dataset in another format")
    one.add_argument("name", help="name of the dataset")
    _new(one)
    one.set_defaults(run=convert)

    one = inner.add_parser("split", parents=[shared], help="split a dataset into one to train on and one to hold back")
    one.add_argument("name", help="name of the dataset")
    one.add_argument("--size", type=float, default=0.1, help="share or number of rows to hold back (default: 0.1)")
    one.add_argument("--seed", type=int, default=42, help="draws the rows (default: 42)")
    one.add_argument("--names", nargs=2, metavar=("TRAIN", "HELD"), help="default: NAME_train NAME_held")
    one.add_argument("--skip-broken", action="store_true", help="leave broken rows out")
    one.set_defaults(run=split)

    one = inner.add_parser("merge", parents=[shared], help="mix several datasets into one")
    one.add_argument("names", nargs="+", metavar="NAME[:WEIGHT]", help="datasets; :2 takes one twice, :0.5 half of it")
    one.add_argument("--seed", type=int, default=42, help="draws the order (default: 42)")
    _new(one)
    one.set_defaults(run=merge)

    one = inner.add_parser("versions", parents=[shared], help="the versions of a dataset's file, and which one is read")
    one.add_argument("name", help="name of the dataset")
    one.add_argument("--use", metavar="FILE", help="read this one from now on")
    one.set_defaults(run=versions)

    one = inner.add_parser("fetch", parents=[shared], help="fetch datasets that come from a hub or a cloud")
    one.add_argument("names", nargs="+", metavar="NAME", help="names of datasets")
    one.set_defaults(run=fetch)

    one = inner.add_parser("clean", parents=[shared], help="remove what is kept in .cache and can be made again")
    one.add_argument("--older-than", type=float, default=0, metavar="DAYS", help="only what was not used for so long")
    one.set_defaults(run=clean)

    generate.add(inner, shared)
    tokens.add(inner, shared)


def _with_allowed(shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(add_help=False, parents=[shared])
    words.add_argument("--allow", action="append", metavar="FOLDER", help="further folder that may be read")
    return words


def _new(parser: argparse.ArgumentParser) -> None:
    from studio.data.converting import TARGETS

    parser.add_argument("--format", choices=TARGETS, default="openai", help="format to write (default: openai)")
    parser.add_argument("--to", required=True, metavar="NEW", help="name of the new dataset")
    parser.add_argument("--skip-broken", action="store_true", help="leave broken rows out")


def _workspace(options: argparse.Namespace) -> Workspace:
    from studio.cli.main import workspace

    return workspace(options)


def list_datasets(options: argparse.Namespace) -> int:
    """Print every dataset of the registry, broken ones with their reason."""
    from studio.data.listing import list_datasets as summaries

    rows = summaries(_workspace(options), wait=True)
    if not rows:
        print("No dataset yet: list one in dataset_info.json.")
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        count = "" if row.rows is None else f"{row.rows:,}"
        fact = f"cannot be used: {row.problem}" if row.problem else row.file + ", to be fetched" * row.to_fetch
        print(f"{row.name:<{width}}  {row.formatting:<8}  {count:>10}  {_size(row.size):>8}  {fact}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Print the report on one dataset; 1 when rows cannot be used. With --to, write the others as a new dataset."""
    from studio.data.kept_reports import Question, check_and_keep
    from studio.data.making import clean_dataset

    workspace = _workspace(options)
    kinds = _kinds(options.remove, options.to)
    question = Question(tuple(options.against), options.cutoff, near=not options.no_near)
    report = check_and_keep(workspace, options.name, question, _progress if sys.stderr.isatty() else None)
    print("\n".join(report.explain()))
    if options.to and not report.broken_off:
        count = clean_dataset(workspace, options.name, report.rows_with(kinds), options.to)
        print(f"{options.to}: {count:,} rows written, {report.rows - count:,} left out")
    return 1 if report.usable < report.rows or report.broken_off else 0


def _kinds(remove: str | None, new: str | None) -> frozenset[str]:
    from studio.data.examples import DataError
    from studio.data.report import BROKEN, TITLES

    if (remove is None) != (new is None):
        raise DataError("--remove says which rows to leave out and --to where the others go: give both.")
    words = frozenset((remove or "").split(",")) - {""}
    unknown = words - TITLES.keys() - {"broken"}
    if unknown:
        raise DataError(f"{', '.join(sorted(unknown))}: no such finding. There are: broken, {', '.join(TITLES)}.")
    return (words - {"broken"}) | (BROKEN if "broken" in words else frozenset())


def preview(options: argparse.Namespace) -> int:
    """Print some rows as the trainer understands them; for a file, what its format was taken for."""
    from studio.data.detection import detect
    from studio.data.examples import BadRow, DataError
    from studio.data.pages import open_pages
    from studio.data.reading import example_of, source_of
    from studio.data.registry import DatasetEntry, find_entry, load_registry, locate, read_entry

    workspace = _workspace(options)
    registry = load_registry(workspace)
    if options.name not in registry and workspace.resolve(options.name).exists():
        path = workspace.resolve(options.name)
        detection = detect(path, source_of(workspace, path))
        print("\n".join((*detection.why, json.dumps(detection.entry(path.name), ensure_ascii=False))))
        entry = read_entry(options.name, detection.entry(str(path)))
        if not isinstance(entry, DatasetEntry):
            raise DataError(entry.reason)
    else:
        entry = find_entry(registry, options.name)
        path = locate(workspace, entry)
    for raw in open_pages(workspace, path).page(max(0, options.start - 1), options.count):
        row = raw if isinstance(raw, BadRow) else example_of(raw, entry)
        print(f"\n{row}" if isinstance(row, BadRow) else _shown(row))
    return 0


def _shown(row: object) -> str:
    from studio.data.examples import Example

    assert isinstance(row, Example)
    lines = [f"\n{row.where} ({row.kind})"]
    if row.tools:
        lines.append(f"tools: {row.tools}")
    for message in row.messages:
        calls = "".join(f" -> {call.name}({call.arguments})" for call in message.calls)
        lines.append(f"{message.role}: {message.content}{calls}")
    lines += [f"{name}: {side.content}" for name, side in (("chosen", row.chosen), ("rejected", row.rejected)) if side]
    if row.label is not None:
        lines.append(f"judged: {'good' if row.label else 'bad'}")
    return "\n".join([*lines, *([row.text] if row.text is not None else [])])


def convert(options: argparse.Namespace) -> int:
    """Write a dataset in another format."""
    from studio.data.making import convert_dataset

    count = convert_dataset(
        _workspace(options), options.name, options.format, options.to, skip_broken=options.skip_broken
    )
    print(f"{options.to}: {count:,} rows written")
    return 0


def split(options: argparse.Namespace) -> int:
    """Write a dataset as two."""
    from studio.data.making import split_dataset

    names = tuple(options.names or (f"{options.name}_train", f"{options.name}_held"))
    counts = split_dataset(
        _workspace(options), options.name, options.size, options.seed, names, skip_broken=options.skip_broken
    )
    for name, count in zip(names, counts, strict=True):
        print(f"{name}: {count:,} rows written")
    return 0


def merge(options: argparse.Namespace) -> int:
    """Mix datasets into one."""
    from studio.data.making import merge_datasets

    weights = [_weighted(word) for word in options.names]
    count = merge_datasets(
        _workspace(options), weights, options.format, options.seed, options.to, skip_broken=options.skip_broken
    )
    print(f"{options.to}: {count:,} rows written")
    return 0


def versions(options: argparse.Namespace) -> int:
    """Print the versions of a dataset, the one that is read with a star; with --use, read another one."""
    from studio.data.versions import use_version
    from studio.data.versions import versions as files_of

    workspace = _workspace(options)
    if options.use is not None:
        use_version(workspace, options.name, options.use)
    for one in files_of(workspace, options.name):
        count = "" if one.rows is None else f"{one.rows:,}"
        when = datetime.fromtimestamp(one.time).isoformat(" ", "minutes")
        print(f"{'*' if one.current else ' '} {count:>10}  {_size(one.size):>8}  {when}  {one.file or 'as fetched'}")
    return 0


def fetch(options: argparse.Namespace) -> int:
    """Fetch datasets that are not on this machine yet."""
    from studio.runs.environment import NO_TELEMETRY
    from studio.tasks.fetching import fetch_dataset

    os.environ.update(NO_TELEMETRY)

    workspace = _workspace(options)
    for name in options.names:
        folder = fetch_dataset(workspace, name, _fetched if sys.stderr.isatty() else None)
        print(f"{name}: {folder}")
    return 0


def clean(options: argparse.Namespace) -> int:
    """Empty the cache, and say what went and what stayed, a line for each kind."""
    from studio.data.cache import clean_cache

    workspace = _workspace(options)
    tidied = clean_cache(workspace, options.older_than)
    if not tidied:
        print(f"There is nothing in {workspace.cache}.")
    for kind in tidied:
        if kind.link:
            print(f"{kind.name}: a link, left alone")
            continue
        parts = [f"{kind.removed} removed ({_size(kind.size)})"]
        if kind.kept:
            fresh = f", {kind.fresh} of them changed within the last minute" if kind.fresh else ""
            parts.append(f"{kind.kept} kept{fresh}")
        print(f"{kind.name}: {', '.join(parts)}")
    return 0


def _fetched(text: str, done: int, total: int) -> None:
    print(f"\r{text} {_size(done)} of {_size(total)}   ", end="", file=sys.stderr, flush=True)


def _weighted(word: str) -> tuple[str, float]:
    from studio.data.examples import DataError

    name, colon, weight = word.rpartition(":")
    if not colon:
        return word, 1.0
    try:
        return name, float(weight)
    except ValueError:
        raise DataError(f"{weight!r} in {word!r} is no weight. Write a number, such as {name}:2.") from None


def _progress(rows: int) -> None:
    print(f"\r{rows:,} rows", end="", file=sys.stderr, flush=True)


def _size(size: int | None) -> str:
    if size is None:
        return ""
    value, unit = float(size), 0
    while value >= 1000 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_SIZES[unit]}" if unit == 0 else f"{value:.1f} {_SIZES[unit]}"
