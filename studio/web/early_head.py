"""Puts the page's own scripts in front of Gradio's: they must choose language and theme before Gradio reads them.

What Gradio takes as `head` is inserted by its scripts, after they have asked the browser for its language.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from studio.web.security import App, Receive, Scope, Send


class EarlyHead:
    """Wraps the board and adds `head` to the one HTML page that it serves."""

    def __init__(self, app: App, head: str) -> None:
        self.app = app
        self.head = f"<head>{head}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            await self.app(scope, receive, send)
            return
        start: MutableMapping[str, Any] = {}
        body = bytearray()

        async def held(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                await send(self._start(start, body))
                await send({"type": "http.response.body", "body": bytes(body)})

        # A compressed page could not be added to.
        plain = [(name, value) for name, value in scope["headers"] if name.lower() != b"accept-encoding"]
        await self.app({**scope, "headers": plain}, receive, held)

    def _start(self, start: MutableMapping[str, Any], body: bytearray) -> MutableMapping[str, Any]:
        """The head put into `body`, and the start message with the new length."""
        body[:] = bytes(body).replace(b"<head>", self.head, 1)
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        return {**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
