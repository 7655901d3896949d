"""What stands between a browser and the board: hosts, origins, throttled logins, headers."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

# Gradio's page needs inline scripts and styles and compiles its templates; everything comes from this server alone.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


class UnsafeBind(ValueError):
    """The server was asked to listen on other than loopback addresses without a password."""


def check_bind(host: str, password: str | None) -> None:
    """Raise UnsafeBind when anyone on the network could open the board without a password."""
    if host.strip("[]") not in LOOPBACK and not password:
        raise UnsafeBind(
            f"--host {host} would open the board to everyone who can reach this machine. Set STUDIO_PASSWORD in the "
            "environment, or stay on 127.0.0.1 and use an SSH tunnel."
        )


@dataclass
class Throttle:
    """Slows down guessing: after `free` wrong passwords from one address each further try waits twice as long.

    `pause` is the first wait in seconds, `longest` the last; a right password forgets the wrong ones.
    """

    free: int = 5
    pause: float = 1.0
    longest: float = 300.0
    clock: Callable[[], float] = time.monotonic
    wrong: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])

    def wait(self, address: str) -> float:
        """Seconds that `address` has to wait before its next try counts; 0 when it may try now."""
        count, last = self.wrong.get(address, (0, 0.0))
        if count < self.free:
            return 0.0
        needed = min(self.longest, self.pause * 2.0 ** (count - self.free))
        return max(0.0, last + needed - self.clock())

    def heard(self, address: str, right: bool) -> None:
        """Remember the outcome of a try."""
        if right:
            self.wrong.pop(address, None)
        else:
            self.wrong[address] = (self.wrong.get(address, (0, 0.0))[0] + 1, self.clock())


def same_secret(given: str, expected: str) -> bool:
    """Compare without telling by the time it takes how much was right."""
    return hmac.compare_digest(given.encode(), expected.encode())


class Guard:
    """Wraps the board: refuses foreign hosts and origins and too many wrong logins, adds headers to every answer.

    A page of another site can make a browser send requests here. It cannot choose the Host header of this server (DNS
    rebinding) nor forge Origin, so these two are checked for every request that could change something.
    """

    def __init__(self, app: App, hosts: Iterable[str], throttle: Throttle) -> None:
        self.app = app
        self.hosts = frozenset(hosts)
        self.throttle = throttle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        login = scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/login")
        address = _address(scope)

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
                if login:
                    self.throttle.heard(address, right=message["status"] < 400)
            await send(message)

        await self.app(scope, receive, guarded)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and sentence of a request that must not pass; None for all others."""
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if self.hosts and urlsplit(f"//{host}").hostname not in self.hosts:
            return 421, f"This board does not answer to the name {host!r}."
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and origin and urlsplit(origin).netloc != host:
            return 403, "A page of another site may not use this board."
        if scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/login"):
            wait = self.throttle.wait(_address(scope))
            if wait > 0:
                return 429, f"Too many wrong passwords. Try again in {wait:.0f} s."
        return None


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


async def _answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
