"""A server that speaks OpenAI's chat completions and misbehaves as it is told: for tests of everything that asks one.

`with FakeEndpoint(plan) as endpoint` serves on a free port of the loopback. `plan(asked)` names what shall happen to a
request: a good answer ("rows"; see `said` and `answer`) unless said otherwise. Answers depend on the prompt alone, so a
resumed run gets the same ones. Everything that came is kept in `requests`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass
class Asked:
    """One request as it came: `number` counts from 1, `times` how often this very conversation was asked before."""

    number: int
    times: int
    path: str
    key: str
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        """The first thing that was said."""
        return self.body["messages"][0]["content"]

    @property
    def last(self) -> str:
        """The newest thing that was said."""
        return self.body["messages"][-1]["content"]

    @property
    def is_second_try(self) -> bool:
        return len(self.body["messages"]) > 1


Plan = Callable[[Asked], str]

SUBJECTS = "bread rivers tides clocks bridges honey glaciers paper copper maps wool salt bells ships roots sand".split()
VERBS = "melts travels rusts sings floats breaks dries grows sinks cools bends shines burns fades turns rests".split()


def question(seed: str) -> str:
    """A question of its own for each seed: no two share half of their word pairs."""
    digest = hashlib.sha256(seed.encode()).digest()
    words = [f"{(SUBJECTS if at % 2 else VERBS)[byte % 16]}{byte}" for at, byte in enumerate(digest[:8])]
    return f"Why does {' '.join(words)}?"


def rows(prompt: str, count: int, form: str) -> list[dict[str, Any]]:
    """As many rows in the form that the prompt asks for."""
    questions = [question(f"{prompt}:{number}") for number in range(count)]
    if form == "preference":
        return [{"question": text, "chosen": f"Because {text}", "rejected": "It does not."} for text in questions]
    if form == "dialogue":
        said = (("user", "{}"), ("assistant", "Because of {}"), ("user", "Are you sure of {}"), ("assistant", "Yes."))
        return [
            {"turns": [{"role": role, "content": words.format(text)} for role, words in said]} for text in questions
        ]
    return [{"question": text, "answer": f"Because of {text}"} for text in questions]


def wanted(prompt: str) -> tuple[int, str]:
    """How many rows of which form a prompt of ours asks for."""
    found = re.search(r"Write (\d+) (conversations|rows)", prompt)
    count = int(found.group(1)) if found else 1
    return count, "preference" if "rejected" in prompt else "dialogue" if '"turns"' in prompt else "question_answer"


@dataclass
class FakeEndpoint:
    """The server and what it has seen. `delay_seconds` is how long it thinks about every answer."""

    plan: Plan = lambda asked: "rows"
    delay_seconds: float = 0.0
    stall_seconds: float = 5.0
    requests: list[Asked] = field(default_factory=list[Asked])
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._at_once = 0
        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()  # whoever stalls comes back
        self._server.shutdown()
        self._server.server_close()

    def prompts(self) -> Counter[str]:
        """How often each first prompt was sent."""
        with self._lock:
            return Counter(asked.prompt for asked in self.requests)

    def take(self, path: str, key: str, body: dict[str, Any]) -> Asked:
        """Keep a request; how often the same conversation has come counts."""
        with self._lock:
            same = json.dumps(body.get("messages"))
            self._times[same] += 1
            asked = Asked(len(self.requests) + 1, self._times[same], path, key, body)
            self.requests.append(asked)
            return asked

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                asked = endpoint.take(self.path, self.headers.get("authorization", ""), body)
                with endpoint._lock:
                    endpoint._at_once += 1
                    endpoint.most_at_once = max(endpoint.most_at_once, endpoint._at_once)
                try:
                    if endpoint.delay_seconds:
                        endpoint.ended.wait(endpoint.delay_seconds)
                    answer(self, endpoint, asked, endpoint.plan(asked))
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    with endpoint._lock:
                        endpoint._at_once -= 1

            def log_message(self, format: str, *args: object) -> None:
                """Tests read `requests`, not a log."""

        return Handler


def answer(handler: BaseHTTPRequestHandler, endpoint: FakeEndpoint, asked: Asked, what: str) -> None:
    """Do to one request what the plan says; anything unknown is said as the model's words."""
    if what.isdecimal():
        return send(handler, int(what), {"error": {"message": f"status {what} for {asked.key}"}})
    if what.startswith("429 after "):
        return send(handler, 429, {"error": "slow down"}, {"retry-after": what.removeprefix("429 after ")})
    if what == "no credit":
        return send(handler, 429, {"error": {"message": "You are out of credit.", "code": "insufficient_quota"}})
    if what == "stall":
        endpoint.ended.wait(endpoint.stall_seconds)
        return None
    if what == "hang up":
        handler.wfile.write(b'HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"choices": [')
        handler.close_connection = True
        return None
    if what == "html":
        return send(handler, 200, "<html>It works!</html>")
    text = said(asked, what)
    usage = {"prompt_tokens": len(asked.prompt) // 4, "completion_tokens": len(text) // 4}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return send(handler, 200, {"choices": [choice], **({} if what == "uncounted" else {"usage": usage})})


def said(asked: Asked, what: str) -> str:
    """The model's words for one behaviour."""
    count, form = wanted(asked.prompt)
    tree = {"rows": rows(asked.prompt, count, form)}
    good = json.dumps(tree, ensure_ascii=False)
    return {
        "rows": good,
        "uncounted": good,
        "prose": f"Sure! Here are your rows:\n```json\n{json.dumps(tree, indent=2)}\n```\nI hope that [they] help.",
        "commas": good.replace("}]}", ",},],}"),
        "cut": good[: len(good) * 2 // 3],
        "wrong schema": json.dumps({"rows": [{"title": "A row", "body": "without a question"}]}),
        "duplicates": json.dumps({"rows": rows("always the same", count, form)}),
        "nonsense": "I would rather talk about the weather.",
    }.get(what, what)


def send(handler: BaseHTTPRequestHandler, status: int, body: object, headers: dict[str, str] | None = None) -> None:
    """One whole response."""
    data = (body if isinstance(body, str) else json.dumps(body)).encode()
    handler.send_response(status)
    for name, value in {
        "content-type": "application/json",
        "content-length": str(len(data)),
        **(headers or {}),
    }.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)


def main() -> None:
    """Serve good answers until killed, for trying things by hand."""
    with FakeEndpoint(delay_seconds=0.3) as endpoint:
        print(endpoint.base_url, flush=True)
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()
