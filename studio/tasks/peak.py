"""The most main memory that this process has held."""

from __future__ import annotations

from pathlib import Path


def peak_bytes() -> int | None:
    """Bytes, as the kernel has counted them; None where it does not say."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
