"""Files of rows from a cloud's bucket or a web server, gone on with where a download was cut off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from studio.config.workspace import OutsideWorkspace, Workspace
from studio.data.examples import DataError
from studio.data.files import KINDS, kind_of
from studio.tasks.downloads import download

# What a registry may name. Others (a shell on another machine, chains of file systems) could reach anything.
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "oss": "ossfs"}

CHUNK = 1 << 20  # bytes that are asked for at once

Say = Callable[[int, int], None]


def fetch_from_cloud(workspace: Workspace, address: str, folder: Path, say: Say) -> str:
    """Fetch the file at `address`, or all data files of one kind under it, into `folder`; a mark of their state.

    http, https, file (inside the workspace) and the schemes of PACKAGES are known. Raises DataError for another one,
    a package that is missing and an address without data files; else what fsspec and httpx raise.
    """
    scheme = urlsplit(address).scheme.lower()
    folder.mkdir(parents=True, exist_ok=True)
    if scheme in ("http", "https"):
        name = _checked(unquote(PurePosixPath(urlsplit(address).path).name))
        return download(address, folder / name, lambda done: say(done, 0))
    if scheme == "file":
        try:
            address = workspace.resolve(unquote(urlsplit(address).path)).as_uri()
        except OutsideWorkspace as error:
            raise DataError(f"It may not be read: {error}") from None
    elif scheme not in PACKAGES or "::" in address:
        known = ", ".join(f"{word}://" for word in ("http", "https", "file", *PACKAGES))
        raise DataError(f"{address!r} begins with none of {known}.")
    return _from_bucket(address, scheme, folder, say)


def _from_bucket(address: str, scheme: str, folder: Path, say: Say) -> str:
    system, root = _system(address, scheme)
    paths = [path for path in sorted(system.find(root)) if kind_of(Path(path))] if system.isdir(root) else [root]
    if not paths:
        raise DataError(f"There is no data file under {address}. It may hold: {', '.join(KINDS)}.")
    sizes = [int(system.size(path) or 0) for path in paths]
    done, marks = 0, list[str]()
    for path, size in zip(paths, sizes, strict=True):
        name = _checked("-".join(PurePosixPath(path).relative_to(root).parts) or PurePosixPath(path).name)
        marks.append(str(system.ukey(path)))
        _copy(system, path, folder / name, size, marks[-1], _behind(done, sum(sizes), say))
        done += size
    return marks[0] if len(marks) == 1 else f"{len(marks)} files"


def _system(address: str, scheme: str) -> tuple[Any, str]:
    from fsspec import core

    library: Any = core  # it has no types
    try:
        return library.url_to_fs(address)
    except ImportError:
        package = PACKAGES.get(scheme, "fsspec")
        raise DataError(
            f"Reading {scheme}:// needs the package {package}. Install it into Studio's environment: "
            f"pip install {package}"
        ) from None


def _copy(system: Any, path: str, target: Path, size: int, mark: str, say: Callable[[int], None]) -> None:
    part, note = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.mark")
    if target.is_file() and target.stat().st_size == size:
        return
    if not part.is_file() or not note.is_file() or note.read_text(encoding="utf-8") != json.dumps(mark):
        part.unlink(missing_ok=True)
        note.write_text(json.dumps(mark), encoding="utf-8")
    with system.open(path, "rb") as source, part.open("ab") as file:
        source.seek(file.tell())
        while chunk := source.read(CHUNK):
            file.write(chunk)
            say(file.tell())
    came = part.stat().st_size
    if came != size:
        part.unlink()
        raise DataError(f"{path} came with {came:,} of {size:,} bytes. Try again.")
    part.replace(target)
    note.unlink()


def _behind(before: int, total: int, say: Say) -> Callable[[int], None]:
    return lambda here: say(before + here, total)


def _checked(name: str) -> str:
    if not kind_of(Path(name)) or name.startswith("."):
        raise DataError(f"{name!r} cannot be read: it must end in one of {', '.join(KINDS)}, also with .gz.")
    return name
