"""The board answers its own page on this machine, and nobody else unless a password says so."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import OutsideWorkspace, Workspace
from studio.web.security import LOOPBACK, POLICY, Guard, Throttle, UnsafeBind, check_bind, same_secret

SOURCES = sorted((Path(__file__).parents[2] / "studio").rglob("*.py"))


async def _page(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


async def _wrong_password(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 400, "headers": []})
    await send({"type": "http.response.body", "body": b"no"})


def ask(guard: Guard, method: str, path: str, **headers: str) -> tuple[int, dict[str, str]]:
    """Status and headers of one request."""
    answer: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        answer.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b""}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "client": ("10.0.0.9", 1)}
    asyncio.run(guard(scope, receive, send))
    return answer[0]["status"], {name.decode(): value.decode() for name, value in answer[0]["headers"]}


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_a_wider_bind_needs_a_password(host: str) -> None:
    with pytest.raises(UnsafeBind, match="STUDIO_PASSWORD"):
        check_bind(host, None)
    check_bind(host, "secret")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_loopback_needs_none(host: str) -> None:
    check_bind(host, None)


def test_other_names_for_this_machine_are_not_answered() -> None:
    guard = Guard(_page, LOOPBACK, Throttle())
    assert ask(guard, "GET", "/", host="127.0.0.1:7860")[0] == 200
    assert ask(guard, "GET", "/", host="evil.example:7860")[0] == 421
    assert ask(guard, "GET", "/")[0] == 421


def test_pages_of_other_sites_cannot_act() -> None:
    guard = Guard(_page, LOOPBACK, Throttle())
    own = {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7860"}
    assert ask(guard, "POST", "/gradio_api/component_server", **own)[0] == 200
    assert ask(guard, "POST", "/gradio_api/component_server", **{**own, "origin": "http://evil.example"})[0] == 403
    assert ask(guard, "POST", "/gradio_api/component_server", **{**own, "origin": "null"})[0] == 403


def test_guessing_passwords_gets_slow() -> None:
    now = 0.0
    throttle = Throttle(free=3, pause=1.0, clock=lambda: now)
    guard = Guard(_wrong_password, (), throttle)
    assert [ask(guard, "POST", "/login", host="x")[0] for _ in range(3)] == [400, 400, 400]
    assert ask(guard, "POST", "/login", host="x")[0] == 429
    now = 1.1
    assert ask(guard, "POST", "/login", host="x")[0] == 400
    now = 2.0
    assert ask(guard, "POST", "/login", host="x")[0] == 429, "the second wait is twice as long"
    throttle.heard("10.0.0.9", right=True)
    assert throttle.wait("10.0.0.9") == 0


def test_every_answer_forbids_other_hosts_and_frames() -> None:
    _, headers = ask(Guard(_page, (), Throttle()), "GET", "/", host="x")
    assert headers["content-security-policy"] == POLICY and "default-src 'self'" in POLICY
    assert not re.search(r"https?:", POLICY)
    assert headers["x-frame-options"] == "DENY"


def test_secrets_are_compared_whole() -> None:
    assert same_secret("päss", "päss") and not same_secret("päs", "päss")


@pytest.mark.parametrize("text", ["../x", "/etc/passwd", "saves/../../x", "link/x"])
def test_paths_stay_in_the_workspace(tmp_path: Path, text: str) -> None:
    root = tmp_path / "here"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(OutsideWorkspace):
        Workspace(root).resolve(text)
    assert Workspace(root).resolve("saves/a") == root / "saves" / "a"
    assert Workspace(root, (tmp_path / "extra",)).resolve(str(tmp_path / "extra" / "m")) == tmp_path / "extra" / "m"


def test_no_shell_no_pickle_no_blind_trust_anywhere_in_the_source() -> None:
    offences: list[str] = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
                forbidden = (("shell", True), ("trust_remote_code", True), ("weights_only", False))
                offences += [f"{path}: {node.arg}" for pair in forbidden if (node.arg, node.value.value) == pair]
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.split(".")[0] for alias in node.names} | {
                    (getattr(node, "module", "") or "").split(".")[0]
                }
                offences += [f"{path}: imports {name}" for name in names & {"pickle", "dill", "marshal", "shelve"}]
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("eval", "exec"):
                offences.append(f"{path}: {node.func.id}")  # type: ignore[attr-defined]
            if (
                isinstance(node, ast.Attribute)
                and node.attr in ("system", "popen")
                and getattr(node.value, "id", "") == "os"
            ):
                offences.append(f"{path}: os.{node.attr}")
    assert offences == []
