"""The result files: what was run, on what machine, what came out; printed and written to bench/results/NAME.md."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("gradio", "uvicorn", "pydantic", "torch", "transformers", "trl", "peft")


def write_result(
    name: str, command: str, intro: str, rows: Sequence[tuple[str, ...]], notes: Sequence[str] = ()
) -> None:
    """Print the result and put it into its file; the first of `rows` is the table's head."""
    head, *body = rows
    table = [_line(head), _line(["---"] * len(head)), *map(_line, body)]
    parts = [f"# {name}", intro, f"Command: `{command}`", machine(), "\n".join(table), *notes]
    text = "\n\n".join(parts) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """What the numbers depend on: processor, cores, memory, versions, and what else the machine was doing."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    processor = found.group(1) if found else platform.machine()
    memory = psutil.virtual_memory().total / 1024**3
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in _PACKAGES)
    load, cores = psutil.getloadavg()[0], len(psutil.Process().cpu_affinity())
    busy = "quiet" if load < 0.75 * cores else "busy with other work too, so take the lowest numbers"
    return (
        f"Machine: {processor}, {cores} cores, {memory:.0f} GB; Python {platform.python_version()}, {versions}.\n"
        f"Load over the last minute at the end: {load:.1f} ({busy})."
    )


def spread(values: Sequence[float], digits: int = 2) -> tuple[str, str, str]:
    """Median, least and most of several measurements as three cells."""
    return tuple(f"{found:.{digits}f}" for found in (statistics.median(values), min(values), max(values)))  # type: ignore[return-value]
