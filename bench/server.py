"""A board started as a user starts it, in a workspace of its own, and the Chromium that looks at it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from bench.report import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
_PATIENCE_SECONDS = 60.0


def fill(workspace: Path) -> None:
    """The demo data, the configs and the registry, as in a fresh clone."""
    for name in ("data", "configs"):
        shutil.copytree(ROOT / name, workspace / name)
    shutil.copy(ROOT / "dataset_info.json", workspace)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window. Ends the measurement where there is none."""
    if CHROMIUM is None:
        sys.exit("No Chromium was found; these measurements need one (Debian: apt-get install chromium).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        yield browser
        browser.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def webui(workspace: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`studio webui` as a process, and its address; it may not answer yet."""
    port = free_port()
    words = [sys.executable, "-m", "studio", "webui", "--port", str(port), "--workspace", str(workspace)]
    with (workspace / "board.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=ROOT, env=dict(os.environ))
    try:
        yield process, f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE_SECONDS)


def wait_for_page(process: subprocess.Popen[bytes], address: str) -> bytes:
    """The first page as soon as it comes."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return urllib.request.urlopen(address, timeout=_PATIENCE_SECONDS).read()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.01)
    sys.exit(f"The board did not answer at {address}.")
