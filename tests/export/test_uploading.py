"""Uploading an export: the real client against a server here, and what is said when it cannot be done."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from studio.tasks.exporting import hub
from studio.tasks.failures import TaskError

pytestmark = pytest.mark.slow


class Hub(BaseHTTPRequestHandler):
    """As much of a hub as an upload of small files needs."""

    files: dict[str, bytes]
    made: list[dict[str, Any]]
    status: int

    def do_POST(self) -> None:
        """Make a repository, say how files are sent, take a commit."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer hf_good":
            return self.answer(401, {"error": "Invalid credentials"})
        if self.path.endswith("/repos/create"):
            self.made.append(json.loads(body))
            return self.answer(200, {"url": f"http://{self.headers['Host']}/owner/name", "name": "owner/name"})
        if "/validate-yaml" in self.path:
            return self.answer(200, {"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]]
            return self.answer(200, {"files": files})
        if "/commit/" in self.path and self.status != 200:
            return self.answer(self.status, {"error": "denied"})
        if "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            oid = "0" * 40
            address = f"http://{self.headers['Host']}/owner/name/commit/{oid}"
            return self.answer(200, {"commitUrl": address, "commitOid": oid})
        return self.answer(404, {})

    def do_GET(self) -> None:
        """Facts about the repository, which is empty."""
        self.answer(200, {"id": "owner/name", "sha": "0" * 40, "siblings": [], "private": True})

    def answer(self, status: int, value: object) -> None:
        """JSON with its length."""
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the test says what counts."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    handler = type("Handler", (Hub,), {"files": {}, "made": [], "status": 200})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.server_port}")
        yield handler
        running.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "export"
    place.mkdir()
    (place / "config.json").write_text('{"a": 1}', encoding="utf-8")
    (place / "README.md").write_text("# x\n", encoding="utf-8")
    (place / "export.json").write_text('{"folder": "/home/somebody"}', encoding="utf-8")
    return place


def test_every_file_arrives(server: type[Hub], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert hub.push(folder, "owner/name", True, tmp_path) == "owner/name"
    assert server.files == {"config.json": b'{"a": 1}', "README.md": b"# x\n"}
    assert server.made[0]["name"] == "name" and "private" in str(server.made[0])


@pytest.mark.parametrize(
    ("token", "status", "said"), [("hf_bad", 200, "HF_TOKEN is not accepted"), ("hf_good", 403, "may not write there")]
)
def test_a_refusal_is_said_in_plain_words(
    server: type[Hub], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, status: int, said: str
) -> None:
    server.status = status
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(TaskError, match=said) as caught:
        hub.push(folder, "owner/name", True, tmp_path)
    assert "The export itself is whole" in caught.value.failure.advice
    assert token not in str(caught.value)


def test_a_missing_token_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    hub.check_token(None)
    with pytest.raises(TaskError, match="HF_TOKEN is not set"):
        hub.check_token("owner/name")
