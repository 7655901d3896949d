"""The files of a dataset on ModelScope, through the plain HTTP interface of its hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import urlencode

from studio.data.examples import DataError
from studio.tasks.downloads import SECONDS_TO_WAIT, download

DOMAIN = "www.modelscope.cn"  # the hub itself; MODELSCOPE_DOMAIN names another site
BRANCH = "master"
FILES_A_PAGE = 100
NOT_DATA = (".py", ".gitattributes", ".gitignore")  # programs are not run, so they are not fetched either

Say = Callable[[int, int], None]


@dataclass(frozen=True)
class _File:
    path: str
    size: int | None
    sha256: str


def fetch_from_modelscope(place: str, folder: Path, inside: str | None, say: Say) -> str:
    """Fetch all data files of the dataset `owner/name`, of its folder `inside` alone where that is named, into
    `folder`; the revision. Files that are there already are kept when their size is right.

    Raises DataError for a dataset that is not there, and httpx.HTTPError from the network.
    """
    if place.count("/") != 1:
        raise DataError(f"{place!r} is no id on ModelScope: it reads owner/name.")
    base, cookies = _site(), _cookies()
    info = _ask(f"{base}/api/v1/datasets/{place}", {}, cookies)
    files = [file for file in _listed(base, info["Id"], cookies) if _wanted(file.path, inside)]
    if not files:
        raise DataError(f"The dataset {place} has no data files{f' in {inside}' if inside else ''}.")
    total, done = sum(file.size or 0 for file in files), 0
    for file in files:
        target = (folder / file.path).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise DataError(f"The dataset {place} names the file {file.path!r}, which lies outside of it.")
        if not target.is_file() or target.stat().st_size != file.size:
            query = urlencode({"Source": "SDK", "Revision": BRANCH, "FilePath": file.path})
            address = f"{base}/api/v1/datasets/{place}/repo?{query}"
            download(address, target, _behind(done, total, say), size=file.size, sha256=file.sha256, cookies=cookies)
        done += file.size or target.stat().st_size
        say(done, total)
    return str(info.get("LastUpdatedTime") or info.get("GmtModified") or BRANCH)


def _behind(before: int, total: int, say: Say) -> Callable[[int], None]:
    return lambda here: say(before + here, total)


def _site() -> str:
    domain = os.environ.get("MODELSCOPE_DOMAIN") or DOMAIN
    return domain.rstrip("/") if "://" in domain else f"https://{domain}"


def _cookies() -> dict[str, str]:
    token = os.environ.get("MODELSCOPE_API_TOKEN")
    return {"m_session_id": token} if token else {}


def _listed(base: str, number: Any, cookies: Mapping[str, str]) -> Iterator[_File]:
    page = 1
    while True:
        query = {"Revision": BRANCH, "Root": "/", "Recursive": "True", "PageNumber": page, "PageSize": FILES_A_PAGE}
        answer = _ask(f"{base}/api/v1/datasets/{number}/repo/tree", query, cookies)
        found = cast("list[dict[str, Any]]", answer.get("Files") or [])
        for file in found:
            if file.get("Type") != "tree":
                yield _File(str(file["Path"]), file.get("Size"), str(file.get("Sha256") or ""))
        if len(found) < FILES_A_PAGE:
            return
        page += 1


def _wanted(path: str, inside: str | None) -> bool:
    name = PurePosixPath(path).name
    if path.endswith(NOT_DATA):
        return False
    return inside is None or name == "README.md" or PurePosixPath(path).is_relative_to(PurePosixPath(inside))


def _ask(address: str, query: Mapping[str, Any], cookies: Mapping[str, str]) -> dict[str, Any]:
    """The `Data` of an answer. Raises DataError for an answer that says no."""
    import httpx

    answer = httpx.get(address, params=dict(query), cookies=dict(cookies), timeout=SECONDS_TO_WAIT)
    if answer.status_code == int(httpx.codes.NOT_FOUND):
        raise DataError("ModelScope has no such dataset, or does not show it to you.")
    answer.raise_for_status()
    tree = cast("dict[str, Any]", answer.json())
    if not isinstance(tree.get("Data"), dict):
        raise DataError(f"ModelScope says: {tree.get('Message') or 'nothing that can be understood'}.")
    return cast("dict[str, Any]", tree["Data"])
