"""What clients call a model or an adapter."""

from __future__ import annotations

from pathlib import Path


def served_name(path: str) -> str:
    """The last word of a path; of a checkpoint, with the run that it belongs to."""
    folder = Path(path.rstrip("/"))
    return f"{folder.parent.name}/{folder.name}" if folder.name.startswith("checkpoint-") else folder.name
