"""Bytes as people read them."""

from __future__ import annotations


def bytes_text(count: float) -> str:
    """Bytes with a fitting unit, powers of 1024: 1.4 GB."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"
