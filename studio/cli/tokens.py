"""`studio data tokens`: what the model sees of a dataset, as an account of all rows or one row token by token."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from studio.cli.submit import Subparsers

BAR_COLUMNS = 50
MOST_BARS = 24
TRAINED, SPECIAL, PART = 1, 2, 4  # bits of a token, as studio.tasks.token_report gives them
DIM, PLAIN, STRUCK, BORDER = "\x1b[2m", "\x1b[1;4m", "\x1b[2;9m", "\x1b[33m"


def add(inner: Subparsers[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    """The words of `studio data tokens`."""
    one = inner.add_parser("tokens", parents=[shared], help="what the model sees: tokens, masks, lengths, steps")
    one.add_argument("name", help="name of the dataset")
    one.add_argument("words", nargs="*", metavar="CONFIG.yaml section.field=value", help="settings of a training run")
    one.add_argument("--model", metavar="FOLDER_OR_ID", help="the model whose tokenizer is asked")
    one.add_argument("--template", metavar="NAME", help="chat template (default: the tokenizer's own)")
    one.add_argument("--cutoff", type=int, metavar="TOKENS", help="longest row in tokens")
    one.add_argument("--row", type=int, metavar="NUMBER", help="show this row, from 1, in place of the account")
    one.set_defaults(run=tokens)


def tokens(options: argparse.Namespace) -> int:
    """Print the account of a dataset's tokens, or one row with what is masked dimmed; 2 when there is none."""
    from studio.cli.main import workspace
    from studio.cli.submit import WrongWords, tree_of
    from studio.config.io import read_yaml
    from studio.config.token_settings import token_config
    from studio.runs.environment import NO_TELEMETRY

    place = workspace(options)
    tree = tree_of(options.words) if options.words else read_yaml("")
    given = {"model.path": options.model, "model.chat_template": options.template, "data.cutoff_len": options.cutoff}
    if not options.model and "model" not in tree:
        raise WrongWords("Name the model whose tokenizer is asked: --model models/NAME, or model.path=owner/name.")
    changes = {path: value for path, value in given.items() if value is not None}
    config = token_config(tree, changes, options.name).model_dump(mode="json")
    os.environ.update(NO_TELEMETRY)

    from studio.tasks.desk import Desk
    from studio.tasks.failures import explain

    try:
        if options.row is not None:
            return _show_row(Desk(place), {"config": config, "name": options.name}, options.row)
        return _show_account(Desk(place), {"config": config, "name": options.name})
    except (RuntimeError, OSError, ValueError) as error:
        failure = explain(error)
        print(f"{failure.cause} {failure.advice}".strip(), file=sys.stderr)
        return 2


def _show_account(desk: Any, body: Mapping[str, Any]) -> int:
    from studio.tasks.token_scan import scan

    steps = scan(desk, body)
    while True:
        try:
            done, total = next(steps)
        except StopIteration as end:
            reply = end.value
            break
        if sys.stderr.isatty():
            print(f"\r{done:,} of {total:,} rows" if total else f"\r{done:,} rows", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print("\n".join(account_lines(str(body["name"]), reply)))
    return 0


def account_lines(name: str, reply: Mapping[str, Any]) -> Iterable[str]:
    """The account as sentences, rows that ask for a look, and the histogram of lengths."""
    report, cutoff = reply["report"], reply["cutoff"]
    sums = report["account"]
    share = sums["trained"] / sums["tokens"] if sums["tokens"] else 0
    yield f"{name} for {reply['model']}, cutoff {cutoff:,}"
    kept = f"{sums['kept']:,} of {sums['rows']:,} rows are kept"
    yield f"  {kept}: {sums['tokens']:,} tokens, {sums['trained']:,} of them trained on ({share:.1%})"
    facts: tuple[tuple[int, str, list[int]], ...] = (
        (sums["cut"], f"rows are longer than {cutoff:,} tokens and are cut", sums["which"]["cut"]),
        (sums["dropped"], "rows have nothing to train on before the cutoff and are left out", sums["which"]["dropped"]),
        (sums["masked"], "rows have nothing to train on at all and are left out", sums["which"]["masked"]),
        (report["refused"], "rows cannot be used; a run stops at them", [row for row, _ in report["bad"]]),
        (sums["held"], "rows are held back for validation", []),
    )
    for count, sentence, places in facts:
        if count:
            yield f"  {count:,} {sentence}{_named(places, count)}"
    if report["bad"]:
        row, reason = report["bad"][0]
        yield f"    row {row + 1}: {reason}"
    if reply["packing"] or reply["blocks"]:
        how = "packed into {:,} rows" if reply["packing"] else "cut into {:,} blocks of running text"
        yield f"  {how.format(sums['units'])}, {sums['fill']:.1%} filled"
    batch = f"{reply['batch']} rows a batch × {reply['accumulation']} batches a step"
    yield f"  steps per epoch: {sums['steps']:,} ({batch})"
    yield from _bars(report, cutoff)


def _named(places: list[int], count: int) -> str:
    if not places:
        return ""
    return f" (rows {', '.join(str(place + 1) for place in places[:8])}{', …' if count > 8 else ''})"


def _bars(report: Mapping[str, Any], cutoff: int) -> Iterable[str]:
    """One line a bin, few enough for a terminal; a rule stands where the cutoff lies."""
    counts: list[int] = report["counts"]
    joined = -(-len(counts) // MOST_BARS) or 1
    width = report["width"] * joined
    bins = [sum(counts[start : start + joined]) for start in range(0, len(counts), joined)]
    most = max(bins, default=0)
    digits = len(f"{len(bins) * width:,}")
    ruled = False
    for number, count in enumerate(bins):
        if not ruled and number * width >= cutoff:
            ruled = True
            yield f"  {'─' * (digits + 2)} cutoff {cutoff:,}"
        # Eighths of a character, as a bar of one row in a thousand should still be seen.
        eighths = -(-count * BAR_COLUMNS * 8 // most) if most else 0
        bar = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
        yield f"  {number * width:>{digits},}+ {bar} {count:,}".rstrip()


def _show_row(desk: Any, body: Mapping[str, Any], number: int) -> int:
    from studio.tasks.token_report import rows

    reply = rows(desk, {**body, "places": [number - 1]})
    row = reply["rows"][0]
    if "problem" in row:
        print(f"{row['where']}: {row['problem']}", file=sys.stderr)
        return 2
    cut = row["total"] - row["kept"]
    note = f", {cut:,} cut off" if cut else ""
    print(f"{row['where']}: {row['total']:,} tokens, {row['trained']:,} trained on{note}")
    coloured = sys.stdout.isatty()
    print("What is masked is dim, what is cut off is struck." if coloured else "What is trained on stands in ⟦ ⟧.")
    print(row_text(row, reply["cutoff"], _ansi if coloured else _bracketed))
    return 0


def row_text(row: Mapping[str, Any], cutoff: int, dress: Callable[[str, str], str]) -> str:
    """The row's text in runs of tokens of one kind (trained, masked, beyond), each dressed; a border at the cutoff."""
    runs: list[tuple[str, str]] = []
    for place, (_, text, bits, _turn) in enumerate(row["tokens"]):
        if place == cutoff:
            runs.append(("border", f"│cutoff {cutoff:,}│"))
        kind = "beyond" if place >= cutoff else "trained" if bits & TRAINED else "masked"
        words = "" if bits & PART else text  # the character stands with its first token
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1] + words)
        else:
            runs.append((kind, words))
    return "".join(dress(kind, text) for kind, text in runs)


def _ansi(kind: str, text: str) -> str:
    colour = {"trained": PLAIN, "masked": DIM, "beyond": STRUCK, "border": BORDER}[kind]
    return f"{colour}{text}\x1b[0m"


def _bracketed(kind: str, text: str) -> str:
    return f"⟦{text}⟧" if kind == "trained" else text
