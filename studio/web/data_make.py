"""The Make view: split, merge and convert as `studio data …` commands of their own process; versions; downloads."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from studio.config.workspace import Workspace
from studio.data.converting import TARGETS, as_row
from studio.data.examples import BadRow, DataError
from studio.data.listing import list_datasets
from studio.data.reading import stream_entry
from studio.data.registry import DatasetEntry, find_entry, load_registry, locate
from studio.data.values import mapping, sequence
from studio.data.versions import use_version, versions
from studio.web import data_work
from studio.web.data_files import Download
from studio.web.data_room import Action, DataRoom, Reply, Request, named
from studio.web.data_shown import cell_text
from studio.web.words import say

ENDINGS = ("jsonl", "json", "csv")
PIECE = 1 << 20


def actions(room: DataRoom) -> dict[str, Action]:
    """`open`, the commands (`start`, `state`, `stop`), `use` of a version and `download`."""
    workspace = room.workspace
    return {
        "open": lambda request: _open(workspace, request),
        "preview": lambda request: {"command": data_work.shown_command(_words(request))},
        "start": lambda request: _start(workspace, request),
        "state": lambda request: _state(workspace, named(request, "work")),
        "stop": lambda request: _stop(workspace, request),
        "use": lambda request: _use(workspace, request),
        "download": lambda request: _download(room, request),
    }


def _open(workspace: Workspace, request: Request) -> Reply:
    """The names that are taken, the datasets to merge with, and the versions of this one."""
    name = named(request)
    known = list_datasets(workspace)
    found = [vars(version) for version in versions(workspace, name)]
    entry = find_entry(load_registry(workspace), name)
    path = locate(workspace, entry)
    return {
        "formatting": entry.formatting,
        "rows": next((one.rows for one in known if one.name == name), None),
        "names": [one.name for one in known],
        "others": [
            {"name": one.name, "rows": one.rows}
            for one in known
            if not (one.problem or one.to_fetch) and one.name != name
        ],
        "versions": found,
        "formats": list(TARGETS),
        "endings": list(ENDINGS),
        "as_it_is": path.is_file(),
    }


def _start(workspace: Workspace, request: Request) -> Reply:
    words = _words(request)
    work = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:24]
    data_work.start(workspace, _folder(workspace, work), words)
    return _state(workspace, work)


def _state(workspace: Workspace, work: str) -> Reply:
    return {"work": work, **data_work.state(_folder(workspace, work))}


def _stop(workspace: Workspace, request: Request) -> Reply:
    data_work.stop(_folder(workspace, named(request, "work")))
    return _state(workspace, named(request, "work"))


def _folder(workspace: Workspace, work: str) -> Path:
    if not work.isalnum():
        raise DataError(f"There is no such work: {work!r}.")
    return workspace.cache / "work" / work


def _words(request: Request) -> list[str]:
    """The words of the command that the form amounts to. Raises DataError for what is no number or name."""
    make = _MAKERS.get(str(request.get("what")))
    if make is None:
        raise DataError(f"{request.get('what')!r} cannot be made.")
    words = make(named(request), request)
    values = [named(request), *(str(part) for key in ("train", "held", "to") if (part := request.get(key)))]
    values += [named(mapping(part)) for part in sequence(request.get("parts"))]
    wrong = next((value for value in values if value.startswith("-")), None)
    if wrong is not None:  # the command would take it for an option
        raise DataError(f"{wrong!r} cannot be a name: it begins with a hyphen.")
    return words


def _split_words(name: str, request: Request) -> list[str]:
    names = [named(request, "train"), named(request, "held")]
    words = ["split", name, "--size", _decimal(request, "size"), "--seed", _whole(request, "seed"), "--names", *names]
    return [*words, *_skip(request)]


def _merge_words(name: str, request: Request) -> list[str]:
    parts = [mapping(part) for part in sequence(request.get("parts"))]
    weighted = [f"{named(part)}:{_decimal(part, 'weight')}" for part in parts]
    if len(weighted) < 2:
        raise DataError(say(request["language"], "page.data.make.merge_two"))
    words = ["merge", *weighted, "--seed", _whole(request, "seed"), "--format", _format(request)]
    return [*words, "--to", named(request, "to"), *_skip(request)]


def _convert_words(name: str, request: Request) -> list[str]:
    return ["convert", name, "--format", _format(request), "--to", named(request, "to"), *_skip(request)]


def _fetch_words(name: str, _request: Request) -> list[str]:
    return ["fetch", name]


_MAKERS: Mapping[str, Callable[[str, Request], list[str]]] = {
    "split": _split_words,
    "merge": _merge_words,
    "convert": _convert_words,
    "fetch": _fetch_words,
}


def _skip(request: Request) -> list[str]:
    return ["--skip-broken"] if request.get("skip") else []


def _format(request: Request) -> str:
    if request.get("format") not in TARGETS:
        raise DataError(f"format must be one of {', '.join(TARGETS)}, but is {request.get('format')!r}.")
    return str(request["format"])


def _decimal(request: Mapping[str, Any], key: str) -> str:
    try:
        return f"{float(str(request.get(key)).replace(',', '.')):g}"
    except ValueError:
        raise DataError(f"{key} must be a number, but is {request.get(key)!r}.") from None


def _whole(request: Mapping[str, Any], key: str) -> str:
    text = str(request.get(key, "")).strip()
    if not text.isdigit():
        raise DataError(f"{key} must be a whole number, but is {text!r}.")
    return text


def _use(workspace: Workspace, request: Request) -> Reply:
    file = named(request, "file")
    use_version(workspace, named(request), file)
    return {"message": say(request["language"], "page.data.make.used", file=file)}


def _download(room: DataRoom, request: Request) -> Reply:
    """A link to the file as it lies, or to its rows in another format.

    Unless broken rows are left out, all rows are tried first: a download cannot say in its midst what is wrong.
    """
    workspace, name = room.workspace, named(request)
    entry = find_entry(load_registry(workspace), name)
    path = locate(workspace, entry)
    if request.get("format") == "as_it_is":
        if not path.is_file():
            raise DataError(f"{entry.file_name} is a folder. Choose a format to get its rows as one file.")
        return {"link": room.tickets.download(Download(path.name, lambda: _bytes_of(path)))}
    formatting, ending, skip = _format(request), str(request.get("ending")), bool(request.get("skip"))
    write = _WRITERS.get(ending)
    if write is None:
        raise DataError(f"ending must be one of {', '.join(ENDINGS)}, but is {ending!r}.")
    if not skip:
        for _ in _rows(workspace, entry, formatting, skip=False):
            pass
    offered = Download(f"{name}.{formatting}.{ending}", lambda: write(_rows(workspace, entry, formatting, skip)))
    return {"link": room.tickets.download(offered)}


def _rows(workspace: Workspace, entry: DatasetEntry, formatting: str, skip: bool) -> Iterator[Mapping[str, Any]]:
    for example in stream_entry(workspace, entry):
        try:
            if isinstance(example, BadRow):
                raise DataError(str(example), example.problem)
            yield as_row(example, formatting)
        except DataError:
            if not skip:
                raise


def _bytes_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _as_lines(rows: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _as_list(rows: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    before = b"[\n"
    for row in rows:
        yield before + json.dumps(row, ensure_ascii=False).encode()
        before = b",\n"
    yield b"\n]\n" if before == b",\n" else b"[]\n"


def _as_table(rows: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    """CSV; what is no text stands as JSON in its cell. The columns are those of the first row and all optional ones."""
    first = next(rows, None)
    if first is None:
        return
    columns = [*first, *(name for name in ("system", "history", "label", "tools") if name not in first)]
    yield _line(columns)
    for row in chain([first], rows):
        yield _line([cell_text(row.get(name)) for name in columns])


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


_WRITERS: Mapping[str, Callable[[Iterator[Mapping[str, Any]]], Iterator[bytes]]] = {
    "jsonl": _as_lines,
    "json": _as_list,
    "csv": _as_table,
}
