"""Count the tokens of a whole dataset in one stream, and say what a cutoff, packing and a batch make of them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from itertools import islice
from typing import Any

from studio.config.workspace import Workspace
from studio.data.examples import BadRow, DataError, Example
from studio.data.pages import open_pages
from studio.data.reading import example_of, refuse_untrainable, stream_raw
from studio.data.registry import DatasetEntry, find_entry, load_registry, locate
from studio.data.token_account import account, packed_rows, packs
from studio.data.token_reports import TokenReport, histogram, keep, key_of, read, share_at
from studio.tasks.desk import Desk, Seen
from studio.tasks.failures import TaskError
from studio.tasks.tokenize import IGNORED, NO_CUTOFF, TokenizedRow, tokenize_stream

ROWS_AT_ONCE = 256  # rows between two looks at whether somebody still waits

Steps = Generator[tuple[int, int], None, dict[str, Any]]


def known(desk: Desk, body: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a dataset without counting anew: `report` is None when its tokens were not counted yet.

    `body`: config (a tree), name, and optionally `packed`, the number of a packed row whose places are wanted.
    """
    seen = desk.seen(body["config"])
    entry = find_entry(load_registry(desk.workspace), body["name"])
    key = _key(desk.workspace, entry, seen)
    report = _read(desk.workspace, key)
    return {**_facts(seen), "report": report and _shown(report, seen, body.get("packed"))}


def scan(desk: Desk, body: Mapping[str, Any]) -> Steps:
    """Count the tokens of a dataset, keep the counts, and answer as `known` does. `body`: config (a tree), name."""
    seen = desk.seen(body["config"])
    if seen.settings.form != "labels":
        raise TaskError(
            "tokens",
            f"Tokens of a whole dataset are not counted here for stage {seen.config.stage.type}, whose rows are judged "
            "answers.",
            "Its run counts them, and says what was cut and left out. Single rows are shown.",
        )
    entry = find_entry(load_registry(desk.workspace), body["name"])
    key = _key(desk.workspace, entry, seen)
    report = TokenReport(entry.name, seen.config.model.path, seen.config.model.chat_template)
    yield 0, 0
    # 0 while only reading all of a large file would tell.
    total = open_pages(desk.workspace, locate(desk.workspace, entry)).places() or 0
    most = seen.config.data.max_samples or NO_CUTOFF
    done = 0
    for rows in _tokenized(_places(desk.workspace, entry), seen):
        for place, tokens in rows:
            if len(report.lengths) == most:
                break
            if isinstance(tokens, str):
                report.refuse(place, tokens)
            else:
                report.add(place, [label != IGNORED for label in tokens.labels])
        done += len(rows)
        yield min(done, total or done), min(total, most)
        if len(report.lengths) == most:
            break
    keep(desk.workspace, key, entry, report)
    _read.cache_clear()
    return {**_facts(seen), "report": _shown(report, seen, None)}


def _tokenized(
    rows: Iterator[tuple[int, Example | BadRow]], seen: Seen
) -> Iterator[list[tuple[int, TokenizedRow | str]]]:
    """The rows some at a time, each with its tokens or the reason why there are none. While the tokenizer encodes some,
    the next are read."""
    waiting: deque[list[tuple[int, Example | str]]] = deque()

    def chunks() -> Iterator[list[Example]]:
        while chunk := [(place, _usable(row, seen)) for place, row in islice(rows, ROWS_AT_ONCE)]:
            waiting.append(chunk)
            yield [row for _, row in chunk if isinstance(row, Example)]

    for outcomes in tokenize_stream(chunks(), seen.tokenizer, seen.template, seen.uncut):
        made = iter(outcomes)
        yield [(place, row if isinstance(row, str) else _named(next(made))) for place, row in waiting.popleft()]


def _named(outcome: TokenizedRow | DataError) -> TokenizedRow | str:
    return str(outcome) if isinstance(outcome, DataError) else outcome


def _usable(row: Example | BadRow, seen: Seen) -> Example | str:
    """The row, or the reason why no run would take it."""
    if isinstance(row, BadRow):
        return row.reason
    try:
        refuse_untrainable(row, seen.config.stage.kinds)
    except DataError as error:
        return str(error)
    return row


def _places(workspace: Workspace, entry: DatasetEntry) -> Iterator[tuple[int, Example | BadRow]]:
    """Every row with the place at which a page finds it: its number in the order of reading, from 0."""
    for place, raw in enumerate(stream_raw(workspace, entry)):
        yield place, raw if isinstance(raw, BadRow) else example_of(raw, entry)


def _key(workspace: Workspace, entry: DatasetEntry, seen: Seen) -> str:
    """Counts hold for every cutoff, batch and packing, so these are not part of the name."""
    tokenize = {name: value for name, value in seen.plan.tokenize.items() if name not in ("cutoff_len", "blocks")}
    template = hashlib.sha256(seen.template.encode()).hexdigest()
    return key_of(workspace, entry, seen.opened.digest, template, str(tokenize), str(seen.config.data.max_samples))


@lru_cache(maxsize=4)
def _read(workspace: Workspace, key: str) -> TokenReport | None:
    return read(workspace, key)


def _facts(seen: Seen) -> dict[str, Any]:
    config = seen.config
    return {
        "model": config.model.path,
        "cutoff": config.data.cutoff_len,
        "packing": packs(config),
        "blocks": seen.settings.blocks,
        "batch": config.optimisation.per_device_train_batch_size,
        "accumulation": config.optimisation.gradient_accumulation_steps,
    }


def _shown(report: TokenReport, seen: Seen, packed: int | None) -> dict[str, Any]:
    width, counts = histogram(report.lengths)
    middle, most = share_at(report.lengths, 0.5), share_at(report.lengths, 0.95)
    groups = packed_rows(report, seen.config) if packed is not None and packs(seen.config) else []
    return {
        "account": asdict(account(report, seen.config)),
        "refused": report.refused,
        "bad": report.bad,
        "total_tokens": sum(report.lengths),
        "total_trained": report.trained(),
        "width": width,
        "counts": counts,
        "median": middle,
        "most": most,
        "longest": report.longest(),
        "group": groups[packed] if packed is not None and 0 <= packed < len(groups) else [],
    }
