"""One file over HTTP, gone on with where a download was cut off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from studio.data.examples import DataError

SECONDS_TO_WAIT = 60.0

Say = Callable[[int], None]  # bytes of the file that are here


def download(
    address: str,
    target: Path,
    say: Say,
    *,
    size: int | None = None,
    sha256: str = "",
    cookies: Mapping[str, str] | None = None,
) -> str:
    """Fetch `address` to `target`, which is there only when it is whole; the server's mark of that state (ETag).

    What an earlier try left in `target`.part is gone on with when the server still has the same state. Raises
    DataError when the file is not of the size or the digest that was promised, httpx.HTTPError from the network.
    """
    import httpx

    part, note = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.mark")
    target.parent.mkdir(parents=True, exist_ok=True)
    have, known = _left(part, note)
    headers = {"Range": f"bytes={have}-", "If-Range": known} if have and known else {}
    headers["Accept-Encoding"] = "identity"
    with (
        httpx.Client(follow_redirects=True, timeout=SECONDS_TO_WAIT, cookies=dict(cookies or {})) as client,
        client.stream("GET", address, headers=headers) as answer,
    ):
        answer.raise_for_status()
        have = have if answer.status_code == int(httpx.codes.PARTIAL_CONTENT) else 0
        mark = answer.headers.get("etag") or answer.headers.get("last-modified") or ""
        length = answer.headers.get("content-length")
        promised = have + int(length) if length else size
        note.write_text(json.dumps(mark), encoding="utf-8")
        with part.open("ab" if have else "wb") as file:
            for chunk in answer.iter_raw():  # as it comes, so little is lost when it breaks off
                file.write(chunk)
                say(file.tell())
    _check(part, promised if size is None else size, sha256, target.name)
    part.replace(target)
    note.unlink()
    return mark


def _left(part: Path, note: Path) -> tuple[int, str]:
    """How much an earlier try left, and the state of the file that it was of; a weak mark promises no same bytes."""
    try:
        mark = json.loads(note.read_text(encoding="utf-8"))
        return (part.stat().st_size, mark) if isinstance(mark, str) and not mark.startswith("W/") else (0, "")
    except (OSError, ValueError):
        return 0, ""


def _check(part: Path, size: int | None, sha256: str, name: str) -> None:
    found = part.stat().st_size
    if size is not None and found != size:
        if found > size:
            part.unlink()
        raise DataError(f"{name} is cut short: {found:,} of {size:,} bytes came. Try again: it goes on from there.")
    if not sha256:
        return
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        part.unlink()
        raise DataError(f"{name} came damaged: its digest is {digest[:12]}… and should be {sha256[:12]}…. Try again.")
