"""A small server that speaks what Hugging Face's and ModelScope's hubs are asked for a dataset, and can break off."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Datasets by their ids, each a mapping of paths to contents; `asked` are the requests, and the first answer for
    a path in `break_off` stops after so many bytes."""

    datasets: dict[str, dict[str, bytes]]
    asked: list[str] = field(default_factory=list[str])
    break_off: dict[str, int] = field(default_factory=dict[str, int])
    address: str = ""


@contextmanager
def serving(hub: Hub) -> Generator[Hub]:
    """The hub at an address of this machine."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body=body)

    def _answer(self, *, with_body: bool = True, body: bytes = b"") -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.hub.asked.append(f"{self.command} {self.path}")
        for prefix, answer in (("/api/v1/datasets/", self._modelscope), ("/api/datasets/", self._huggingface)):
            if path.startswith(prefix):
                return answer(path.removeprefix(prefix), query, body)
        words = path.strip("/").split("/", 5)
        if words[0] == "datasets" and len(words) == 6 and words[3] == "resolve":
            return self._file(f"{words[1]}/{words[2]}", words[5], with_body)
        if words[0] == "files":
            return self._file("files", path.removeprefix("/files/"), with_body)
        return self._json({"error": "not found"}, 404)

    def _huggingface(self, path: str, query: dict[str, str], body: bytes) -> None:
        words = path.split("/", 4)
        files = self.hub.datasets.get("/".join(words[:2]))
        if files is None:
            return self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        kind = words[2] if len(words) > 2 else ""
        if kind in ("", "revision"):
            siblings = [{"rfilename": name} for name in files]
            return self._json(
                {"id": "/".join(words[:2]), "sha": SHA, "siblings": siblings, "tags": [], "private": False}
            )
        if kind == "tree":
            inside = words[4] if len(words) > 4 else ""
            found = _tree(files, inside, query.get("recursive", "").lower() == "true")
            if not found and inside:
                return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return self._json(found)
        if kind == "paths-info":
            asked = json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode())["paths"]
            entries = _tree(files, "", True)
            return self._json([entry for entry in entries if entry["path"] in asked])
        return self._json({"error": "not found"}, 404)

    def _modelscope(self, path: str, query: dict[str, str], body: bytes) -> None:
        words = path.split("/")
        if words[0].isdigit():
            files = list(self.hub.datasets.values())[int(words[0])]
            page, size = int(query["PageNumber"]), int(query["PageSize"])
            listed = [
                {"Path": name, "Type": "blob", "Size": len(data), "Sha256": hashlib.sha256(data).hexdigest()}
                for name, data in files.items()
            ]
            return self._json({"Code": 200, "Data": {"Files": listed[(page - 1) * size : page * size]}})
        name = "/".join(words[:2])
        if name not in self.hub.datasets:
            return self._json({"Code": 404, "Message": "dataset not found"}, 404)
        if words[2:] == ["repo"]:
            return self._file(name, query["FilePath"], True)
        return self._json({"Code": 200, "Data": {"Id": list(self.hub.datasets).index(name), "LastUpdatedTime": 17}})

    def _file(self, name: str, path: str, with_body: bool) -> None:
        data = self.hub.datasets.get(name, {}).get(path)
        if data is None:
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        begin, mark = 0, f'"{hashlib.sha256(data).hexdigest()[:40]}"'
        span = self.headers.get("Range", "")
        if span and self.headers.get("If-Range", mark) == mark:
            begin = int(span.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if begin else 200)
        self.send_header("ETag", mark)
        self.send_header("X-Repo-Commit", SHA)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        end = begin + self.hub.break_off.pop(path, len(data)) if with_body else begin
        self.wfile.write(data[begin:end])
        self.close_connection = end < len(data)
        return None

    def _json(self, value: Any, code: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for key, text in (headers or {}).items():
            self.send_header(key, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _tree(files: dict[str, bytes], inside: str, recursive: bool) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path, data in files.items():
        if inside and not path.startswith(f"{inside}/"):
            continue
        rest = path.removeprefix(f"{inside}/" if inside else "").split("/")
        folders = ["/".join(filter(None, [inside, *rest[: n + 1]])) for n in range(len(rest) - 1)]
        for folder in folders if recursive else folders[:1]:
            found[folder] = {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
        if recursive or len(rest) == 1:
            digest = hashlib.sha256(data).hexdigest()[:40]
            found[path] = {"type": "file", "path": path, "oid": digest, "size": len(data)}
    return list(found.values())
