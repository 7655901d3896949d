"""Files on their way: uploads streamed into the data folder and downloads streamed out, each by a ticket for one use.

A ticket is drawn by the tab's server function, behind the login; the paths here answer to nothing else. Nothing is read
into memory whole, so the disk is the only limit.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.data.files import KINDS, kind_of

UPLOADS, DOWNLOADS = "/data/upload/", "/data/download/"
DRAFT = ".upload-"
SPARE_BYTES = 64 << 20
OLD_SECONDS = 86400.0
LONGEST_NAME = 120


@dataclass(frozen=True)
class Upload:
    """A file that is expected: the name it shall have in the data folder, and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Download:
    """A file that is handed out: its name and what makes its bytes."""

    name: str
    pieces: Callable[[], Iterator[bytes]]


@dataclass
class Tickets:
    """What was promised to the page and not yet fetched; lost with the server, and then asked for again."""

    uploads: dict[str, Upload] = field(default_factory=dict[str, Upload])
    downloads: dict[str, Download] = field(default_factory=dict[str, Download])

    def upload(self, expected: Upload) -> str:
        """The path to which the page may put one file."""
        ticket = secrets.token_urlsafe(24)
        self.uploads[ticket] = expected
        return UPLOADS + ticket

    def download(self, offered: Download) -> str:
        """The path from which the page may fetch one file, once."""
        ticket = secrets.token_urlsafe(24)
        self.downloads[ticket] = offered
        return DOWNLOADS + ticket


def clean_name(text: str) -> str:
    """A file name that is safe anywhere, from what a browser calls a file. Raises DataError for an unknown ending."""
    name = text.replace("\\", "/").rsplit("/", 1)[-1].strip()
    name = re.sub(r"-*\.|--+", lambda found: found[0][-1], re.sub(r"[^\w.-]", "-", name)).lstrip(".-")
    if not name or not kind_of(Path(name)):
        raise DataError(f"{text!r} is no data file that can be read. Its name must end in {', '.join(KINDS)}, or .gz.")
    ending = "".join(Path(name).suffixes[-2:]) if name.lower().endswith(".gz") else Path(name).suffix
    return name.removesuffix(ending)[:LONGEST_NAME] + ending


def free_path(folder: Path, name: str) -> Path:
    """`folder`/`name`, or with a number before the ending where that is taken."""
    ending = "".join(Path(name).suffixes[-2:]) if name.lower().endswith(".gz") else Path(name).suffix
    stem, number, path = name.removesuffix(ending), 1, folder / name
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{ending}"
    return path


def expect(workspace: Workspace, tickets: Tickets, text: str, size: int) -> tuple[str, str]:
    """Prepare for a file: the path to put it to, and its name. Raises DataError when the disk cannot hold it."""
    name = clean_name(text)
    workspace.data.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(workspace.data).free
    if size <= 0:
        raise DataError(f"{text} is empty.")
    if size + SPARE_BYTES > free:
        raise DataError(f"{text} has {size:,} bytes, but only {free:,} are free on the disk of the data folder.")
    _clear_old(workspace)
    return tickets.upload(Upload(name, size)), name


def add_routes(api: FastAPI, workspace: Workspace, tickets: Tickets) -> None:
    """The two paths, in front of Gradio's."""

    async def put(request: Request, ticket: str) -> Response:
        expected = tickets.uploads.pop(ticket, None)
        if expected is None:
            return _gone()
        try:
            path = await _receive(request, workspace, expected)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is left to hear it
        except (DataError, OSError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"path": path.relative_to(workspace.root).as_posix()})

    def get(ticket: str) -> Response:
        offered = tickets.downloads.pop(ticket, None)
        if offered is None:
            return _gone()
        disposition = f"attachment; filename*=UTF-8''{quote(offered.name)}"
        headers = {"content-disposition": disposition, "cache-control": "no-store"}
        return StreamingResponse(offered.pieces(), headers=headers, media_type="application/octet-stream")

    api.add_api_route(UPLOADS + "{ticket}", put, methods=["PUT"], response_model=None)
    api.add_api_route(DOWNLOADS + "{ticket}", get, methods=["GET"], response_model=None)


async def _receive(request: Request, workspace: Workspace, expected: Upload) -> Path:
    """Write the body under a hidden name and give it its own when it is whole; no file is ever replaced."""
    draft = workspace.data / f"{DRAFT}{secrets.token_hex(8)}"
    try:
        with draft.open("wb") as file:
            async for piece in request.stream():
                file.write(piece)
                if file.tell() > expected.size:
                    break
            length = file.tell()
            file.flush()
            os.fsync(file.fileno())
        if length != expected.size:
            raise DataError(f"{expected.name} did not arrive whole: {length:,} of {expected.size:,} bytes. Try again.")
        return _settle(draft, workspace.data, expected.name)
    finally:
        draft.unlink(missing_ok=True)


def _settle(draft: Path, folder: Path, name: str) -> Path:
    while True:
        path = free_path(folder, name)
        try:
            path.touch(exist_ok=False)  # holds the name against another upload
        except FileExistsError:
            continue
        draft.replace(path)
        return path.resolve()


def _clear_old(workspace: Workspace) -> None:
    """Uploads that a killed server left behind a day ago or longer."""
    for draft in workspace.data.glob(f"{DRAFT}*"):
        if time.time() - draft.stat().st_mtime > OLD_SECONDS:
            draft.unlink(missing_ok=True)


def _gone() -> Response:
    return PlainTextResponse("This link was used already, or the server was started again. Ask for it anew.", 404)
