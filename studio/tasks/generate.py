"""A job that lets a model behind an endpoint write rows of data: top to bottom. The rows then wait for a review."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from typing import TextIO

from studio.config.generate import Documents, EndpointConfig, GenerateConfig
from studio.config.workspace import Workspace
from studio.runs.folder import RunFolder
from studio.runs.metrics import append_row, open_rows
from studio.runs.records import JobSpec
from studio.tasks.failures import TaskError
from studio.tasks.generating.client import Endpoint
from studio.tasks.generating.documents import read_passages
from studio.tasks.generating.likeness import Asked
from studio.tasks.generating.requests import Ask, from_documents, from_seeds
from studio.tasks.generating.seeds import read_seeds
from studio.tasks.generating.writing import Totals, Writing
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag

FINISHED, STOPPED = 0, 10  # exit codes, as studio.runs reads them

logger = logging.getLogger(__name__)


def run(folder: RunFolder, job: JobSpec, config: GenerateConfig, reporter: Reporter, stop: StopFlag) -> int:
    """Ask as `config` says and return the exit code. What the folder already holds is not asked again.

    Raises TaskError and DataError; the caller explains them.
    """
    workspace = Workspace.of_run(folder.path)
    key = read_key(config.endpoint)
    reporter.phase("reading", "seed tasks" if config.source.type == "seeds" else "documents")
    asked = Asked(config.rows.alike)
    asks = _asks(workspace, config, asked, reporter)

    with open_rows(folder.metrics_file) as metrics:
        progress = Progress(config, reporter, metrics)
        endpoint = Endpoint(config.endpoint, key, progress.tell, lambda: stop.requested)
        writing = Writing(folder, config, endpoint, asks, asked, progress.after, lambda: stop.requested)
        if finished := len(writing.totals.generated.finished):
            append_row(metrics, {"event": "resumed", "step": finished, "time": time.time()})
            logger.info("going on behind %d finished requests", finished)
        reporter.phase("generating")
        progress.show(writing.totals)
        stop.armed = True
        complete = asyncio.run(writing.run())
    progress.show(writing.totals)
    return _end(writing, config, folder, reporter, complete)


def read_key(endpoint: EndpointConfig) -> str | None:
    """The key from the environment, or None where none is to be sent. Raises TaskError when it is missing."""
    if not endpoint.key_variable:
        return None
    key = os.environ.get(endpoint.key_variable, "").strip()
    if key and key.isascii() and key.isprintable():
        return key
    raise TaskError(
        "key",
        f"The environment variable {endpoint.key_variable} {'holds no key' if key else 'is not set'}.",
        f"Set {endpoint.key_variable} where Studio is started, then resume the run; or leave endpoint.key_variable "
        "empty for a server that needs no key.",
    )


def _asks(workspace: Workspace, config: GenerateConfig, asked: Asked, reporter: Reporter) -> Iterator[Ask]:
    """The requests in their order; seed tasks are remembered, so that no new row repeats one."""
    source, seed = config.source, config.rows.seed
    if isinstance(source, Documents):
        passages = read_passages(workspace, source.paths, source.chunk_size, source.overlap, reporter.notice)
        documents = len({passage.document for passage in passages})
        logger.info("%d passages of %d documents", len(passages), documents)
        return from_documents(source, passages, seed)
    tasks = read_seeds(workspace, source, reporter.notice)
    for task in tasks:
        asked.seen(task.question)
    logger.info("%d seed tasks", len(tasks))
    return from_seeds(source, tasks, seed)


class Progress:
    """What the job says while it asks: status, and a row of metrics behind each request."""

    def __init__(self, config: GenerateConfig, reporter: Reporter, metrics: TextIO) -> None:
        self._config, self._reporter, self._metrics = config, reporter, metrics

    def tell(self, text: str) -> None:
        """Why something is being waited for."""
        logger.info(text)
        status = self._reporter.status
        self._reporter.progress(status.step, status.total, None, text)

    def after(self, totals: Totals) -> None:
        """A request has been finished."""
        generated, cost = totals.generated, totals.cost(self._config)
        row: dict[str, object] = {
            "step": len(generated.finished),
            "time": time.time(),
            "rows_kept": len(generated.rows),
            "rows_left_out": generated.total("alike") + generated.total("broken"),
            "requests_failed": len(generated.failures),
            "tokens_in": generated.total("tokens_in"),
            "tokens_out": generated.total("tokens_out"),
        }
        append_row(self._metrics, row if cost is None else {**row, "cost": cost})
        self.show(totals)

    def show(self, totals: Totals) -> None:
        """Where the job is."""
        rows, wanted = len(totals.generated.rows), self._config.rows.count
        spent = time.monotonic() - totals.begun
        left = spent / totals.new_rows * (wanted - rows) if totals.new_rows else None
        self._reporter.progress(rows, wanted, left, in_words(totals, self._config))


def in_words(totals: Totals, config: GenerateConfig) -> str:
    """What came of the requests so far, in one line."""
    generated, cost = totals.generated, totals.cost(config)
    failed = len(generated.failures)
    parts = [
        f"{len(generated.rows):,} of {config.rows.count:,} rows",
        f"{generated.total('alike'):,} alike left out" if generated.total("alike") else "",
        f"{generated.total('broken'):,} broken left out" if generated.total("broken") else "",
        f"{failed:,} {'request' if failed == 1 else 'requests'} without a row" if failed else "",
        f"{generated.total('tokens_in'):,} tokens read, {generated.total('tokens_out'):,} written",
        f"cost {cost:,.4g}" if cost is not None else "",
    ]
    return " · ".join(part for part in parts if part)


def _end(writing: Writing, config: GenerateConfig, folder: RunFolder, reporter: Reporter, complete: bool) -> int:
    """Say how it ended; the exit code. Raises TaskError when there is not one row."""
    totals = writing.totals
    rows = len(totals.generated.rows)
    if totals.guessed:
        reporter.notice("The endpoint does not count tokens: four characters were taken as one.")
    if not complete:
        reporter.phase("stopped", f"with {in_words(totals, config)}")
        return STOPPED
    if rows == 0:
        raise TaskError("answers", "Not one row came of it.", "The log says what became of each request.")
    if rows < config.rows.count:
        asked = len(totals.generated.finished)
        reporter.notice(
            f"{asked:,} requests brought {rows:,} of {config.rows.count:,} rows, and there is no more to ask."
        )
    logger.info("the rows wait for your review: on the Data tab, or `studio data review %s`", folder.name)
    reporter.phase("finished", in_words(totals, config))
    return FINISHED
