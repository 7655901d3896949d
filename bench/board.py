"""How long a person waits for the board, and what it weighs: `python -m bench.board [ROUNDS]`.

Each round starts `studio webui` in a fresh workspace and measures from the start of the process: until GET / answers,
and until Chromium, with nothing in its cache, shows the form with its Start button. `import gradio` alone is timed by
turns with it, because that is the least that any board built on it can take.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
from playwright.sync_api import Browser

from bench.report import spread, write_result
from bench.server import chromium, fill, wait_for_page, webui

ROUNDS = 5
_TRANSFERRED = """["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind))
    .reduce((sum, entry) => sum + entry.transferSize, 0)"""


def main(rounds: int) -> None:
    """Measure and write."""
    measured: dict[str, list[float]] = {}
    with chromium() as browser:
        for _ in range(rounds):
            found = {**one_round(browser), "`import gradio` alone (s)": import_gradio()}
            for name, value in found.items():
                measured.setdefault(name, []).append(value)
    table = [("what", "median", "least", "most"), *((name, *spread(values)) for name, values in measured.items())]
    write_result(
        "board",
        f"python -m bench.board {rounds}",
        f"`studio webui` in a fresh workspace, {rounds} times; seconds from the start of the process.",
        table,
        ["LlamaBoard on such a machine: 8.5 to 10.8 s until the first page, 1.5 MB of HTML, controls without labels at "
         "first. Goal: at most half of that time; the aim is `import gradio` and a second."],
    )  # fmt: skip


def one_round(browser: Browser) -> dict[str, float]:
    """One start, looked at by a browser that has never seen it."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        fill(workspace)
        begun = time.perf_counter()
        with webui(workspace) as (process, address):
            html = wait_for_page(process, address)
            answered = time.perf_counter() - begun
            page = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US").new_page()
            page.goto(address)
            page.wait_for_selector("#start", state="visible")
            usable = time.perf_counter() - begun
            wire = page.evaluate(_TRANSFERRED)
            config = urllib.request.urlopen(f"{address}config", timeout=60).read()
            memory = psutil.Process(process.pid).memory_info().rss
            page.context.close()
    return {
        "GET / answers (s)": answered,
        "Start button on the screen (s)": usable,
        "HTML (kB)": len(html) / 1e3,
        "/config (kB)": len(config) / 1e3,
        "sent to the browser until then, compressed (kB)": wire / 1e3,
        "memory of the server (MB)": memory / 1e6,
    }


def import_gradio() -> float:
    """Seconds of a process that does nothing else."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import gradio"], check=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
