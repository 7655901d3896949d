"""Small files that are written whole or not at all, and read without ever raising for what they hold."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace `path` by `text` in one step; `durable` also forces it to the disk before the old one goes.

    Raises OSError (disk full, read-only); the old file is then untouched and nothing is left beside it.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object, *, durable: bool = True) -> None:
    """Like `write_text`, for a value that JSON can express."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n", durable=durable)


def read_text(path: Path) -> str:
    """The file's text; empty when it is absent or unreadable, a replacement character for each broken byte."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_json(path: Path) -> object:
    """The file's value; None when it is absent, unreadable, half-written or no JSON."""
    try:
        return json.loads(read_text(path) or "null")
    except (ValueError, RecursionError):
        return None


def tail(path: Path, size: int, start: int = 0) -> str:
    """The last `size` bytes of the file as text, but nothing before the byte `start`; empty when absent."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(min(start, end), end - size))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
