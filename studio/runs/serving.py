"""Where a serving run can be asked, and with which key: serving.json, which only its owner may read."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass

from studio.runs.atomic import read_json
from studio.runs.folder import RunFolder
from studio.runs.records import Fields

FILE = "serving.json"


@dataclass(frozen=True)
class Serving:
    """The address without /v1, the key, and the names of what is served, the base first."""

    address: str
    key: str
    models: tuple[str, ...]


def write_serving(folder: RunFolder, serving: Serving) -> None:
    """For the worker, once it listens. Raises OSError."""
    draft = folder.path / f".{FILE}.{secrets.token_hex(4)}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(serving), file)
    draft.replace(folder.path / FILE)


def forget_serving(folder: RunFolder) -> None:
    """For the worker, before it ends."""
    (folder.path / FILE).unlink(missing_ok=True)


def read_serving(folder: RunFolder) -> Serving | None:
    """What the run says; None before it listens. Believe it only while the run's state is running: a killed worker
    leaves the file behind."""
    fields = Fields(read_json(folder.path / FILE))
    address = fields.text("address")
    return Serving(address, fields.text("key"), fields.texts("models")) if address else None
