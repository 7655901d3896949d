"""A board in a process of its own, and a Chromium that watches what the page asks of whom."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from studio.config.workspace import Workspace
from studio.runs.folder import RunFolder
from studio.runs.states import ENDED
from studio.runs.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Without these Chromium asks other hosts for updates and lists of its own.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE_SECONDS = 60.0
expect.set_options(timeout=20_000)  # milliseconds; other processes may hold the cores
T = TypeVar("T")


def wait_for(fact: Callable[[], T], what: str, patience: float = PATIENCE_SECONDS) -> T:
    """The first true value of `fact`; fails the test when there is none in time."""
    deadline = time.monotonic() + patience
    while not (value := fact()):
        assert time.monotonic() < deadline, f"waited {patience:.0f} s in vain for {what}"
        time.sleep(0.05)
    return value


@dataclass
class Board:
    """A workspace and the server that shows it, which can be killed and started again."""

    root: Path
    fake: bool = True
    step_seconds: float = 0.05
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    supervisor: Supervisor = field(init=False)

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.supervisor = Supervisor(Workspace(self.root))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        words = [sys.executable, str(ROOT / "tests/web/board.py"), str(self.root), str(self.port)]
        environment = {**os.environ, "FAKE_STEP_SECONDS": str(self.step_seconds), "OMP_NUM_THREADS": "1"}
        with (self.root / "board.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*words, *(["--fake"] if self.fake else [])], stdout=log, stderr=log, env=environment, cwd=ROOT
            )
        wait_for(self._answers, "the board to answer")

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, (self.root / "board.log").read_text()
        try:
            return urllib.request.urlopen(self.address, timeout=5).status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def folder(self, name: str) -> RunFolder:
        return self.supervisor.folder(name)

    def processes(self, name: str) -> list[psutil.Process]:
        """Worker and shim of a run, as far as they live."""
        known = self.folder(name).processes()
        return [psutil.Process(pid) for pid in (known.worker_pid, known.shim_pid) if pid and psutil.pid_exists(pid)]

    def kill_runs(self) -> None:
        for job in self.supervisor.jobs():
            for process in self.processes(job.name):
                process.kill()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, closed behind the last browser test: while it is open, an event loop runs in this thread."""
    if CHROMIUM is None:
        message = "no Chromium was found: install it (Debian: apt-get install chromium) to run the browser tests"
        if os.environ.get("STUDIO_BROWSER_REQUIRED"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    for name in ("data", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "dataset_info.json", tmp_path)
    made = Board(tmp_path)
    made.start()
    yield made
    made.kill()
    made.kill_runs()


@dataclass
class Watch:
    """What the page did that it should not have done."""

    errors: list[str] = field(default_factory=list[str])
    foreign: list[str] = field(default_factory=list[str])

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def on_request(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1", "data:", "blob:")):
            self.foreign.append(request.url)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@contextmanager
def new_page(browser: Browser, board: Board, watch: Watch) -> Iterator[Page]:
    """The board's first page in a browser of its own, watched."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US", accept_downloads=True)
    made = context.new_page()
    made.set_default_timeout(PATIENCE_SECONDS * 1000)
    made.on("console", watch.on_console)
    made.on("pageerror", lambda error: watch.errors.append(str(error)))
    made.on("request", watch.on_request)
    made.goto(board.address)
    made.wait_for_selector("#start")
    yield made
    context.close()


@pytest.fixture
def page(browser: Browser, board: Board, watch: Watch) -> Iterator[Page]:
    with new_page(browser, board, watch) as made:
        yield made


def ended(board: Board, name: str) -> bool:
    board.supervisor.reconcile()
    return board.supervisor.job(name).state in ENDED
