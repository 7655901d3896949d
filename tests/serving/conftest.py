"""A tiny model with two adapters, and a server of it inside the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

KEY = "a-key-of-the-test"


@dataclass(frozen=True)
class Server:
    """A running server: `served` behind it, `url` ending in /v1."""

    served: Any
    url: str
    key: str


@pytest.fixture(scope="session")
def served(serving_workspace: Path) -> Iterator[Any]:
    """The model in float32 with both adapters, decoding in its thread."""
    from studio.config.io import parse
    from studio.config.serve import ServeConfig
    from studio.config.workspace import Workspace
    from studio.tasks.ends import end_tokens
    from studio.tasks.machine import detect
    from studio.tasks.serving.engine import Engine
    from studio.tasks.serving.loading import load
    from studio.tasks.serving.served import Served

    tree = {
        "model": {"path": "models/tiny", "dtype": "float32"},
        "serving": {"adapters": ["saves/one", "saves/two"]},
        "devices": {"use": "cpu"},
    }
    config = parse(tree, ServeConfig)
    loaded = load(config, Workspace(serving_workspace), detect("cpu"))
    ends = end_tokens(loaded.model, loaded.tokenizer, loaded.template)
    engine = Engine(loaded.model, loaded.tokenizer, ends, 4, loaded.fronts)
    engine.start()
    yield Served(engine, loaded.tokenizer, loaded.template, loaded.names, context=256)
    engine.close()


@pytest.fixture(scope="session")
def server(served: Any) -> Iterator[Server]:
    """A server of `served` on a port of its own, with a key."""
    import socket

    import uvicorn

    from studio.tasks.serving.api import make_api

    listening = socket.create_server(("127.0.0.1", 0))
    web = uvicorn.Server(uvicorn.Config(make_api(served, KEY, loopback=True), log_level="warning"))
    thread = threading.Thread(target=web.run, args=([listening],), daemon=True)
    thread.start()
    yield Server(served, f"http://127.0.0.1:{listening.getsockname()[1]}/v1", KEY)
    web.should_exit = True
    thread.join(timeout=10)
