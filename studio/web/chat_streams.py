"""Answers on their way from a serving process to the page: read in the background, asked for piece by piece."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from studio.runs.serving import Serving

KEPT_SECONDS = 900.0  # how long an answer is kept that nobody asks for any more


@dataclass
class Stream:
    """One answer so far. `end` is set when it is over; then `error` says why it broke off, if it did."""

    text: str = ""
    calls: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    tokens: int = 0
    end: str = ""
    error: str = ""
    began: float = field(default_factory=time.monotonic)
    first: float = 0.0  # when the first piece came
    last: float = field(default_factory=time.monotonic)
    stopped: bool = False

    def facts(self, offset: int) -> dict[str, Any]:
        """What the page does not have yet: the text behind `offset`, and how the answer stands."""
        over = bool(self.end)
        speed = self.tokens / (self.last - self.first) if self.first and self.last > self.first else None
        return {
            "text": self.text[offset:],
            "end": self.end,
            "error": self.error,
            "calls": self.calls if over else [],
            "tokens": self.tokens,
            "speed": speed,
            "wait": (self.first or time.monotonic()) - self.began,
        }


class Streams:
    """All answers of this server that are on their way or were lately."""

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}
        self._lock = threading.Lock()

    def begin(self, serving: Serving, body: Mapping[str, Any]) -> str:
        """Ask for an answer; its id."""
        with self._lock:
            old = [key for key, one in self._streams.items() if time.monotonic() - one.last > KEPT_SECONDS and one.end]
            for key in old:
                del self._streams[key]
            name, stream = uuid.uuid4().hex, Stream()
            self._streams[name] = stream
        threading.Thread(target=_read, args=(stream, serving, dict(body)), name=f"answer-{name}", daemon=True).start()
        return name

    def get(self, name: str) -> Stream | None:
        """The answer of that id; None after a restart of the server, or when it is long over."""
        return self._streams.get(name)


def _read(stream: Stream, serving: Serving, body: dict[str, Any]) -> None:
    """Fill the stream until the answer is over, somebody stops it, or the server goes away."""
    question = {**body, "stream": True, "stream_options": {"include_usage": True}}
    limit = httpx.Timeout(10.0, read=None)
    try:
        with httpx.stream(
            "POST", f"{serving.address}/v1/chat/completions", json=question, timeout=limit, trust_env=False,
            headers={"Authorization": f"Bearer {serving.key}"},
        ) as reply:  # fmt: skip
            if reply.status_code != httpx.codes.OK:
                reply.read()
                stream.error = _message(reply)
            for event in _events(reply) if not stream.error else ():
                _take(stream, event)
                if stream.stopped:
                    break
    except httpx.HTTPError as error:
        stream.error = f"The model went away in the midst of its answer ({type(error).__name__}). Is it still loaded?"
    stream.end = stream.end or ("error" if stream.error else "cancelled")


def _events(reply: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in reply.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def _take(stream: Stream, event: dict[str, Any]) -> None:
    now = time.monotonic()
    if "error" in event:
        stream.error, stream.end = event["error"]["message"], "error"
        return
    if event.get("usage"):
        stream.tokens = event["usage"]["completion_tokens"]
    for choice in event.get("choices", ()):
        delta = choice["delta"]
        stream.first = stream.first or now
        stream.last, stream.tokens = now, stream.tokens + 1
        stream.text += delta.get("content") or ""
        stream.calls += [call["function"] for call in delta.get("tool_calls") or ()]
        stream.end = choice["finish_reason"] or ""


def _message(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The model answered with HTTP {reply.status_code}."
