"""Bytes and seconds as people read them."""

from __future__ import annotations


def bytes_text(count: float) -> str:
    """Bytes with a fitting unit, powers of 1024: 1.4 GB."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"


def time_text(seconds: float) -> str:
    """A duration: 0:42, 12:05, 3:07:12."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
