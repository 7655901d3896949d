"""A serving process from its config to the last answer: load, listen, wait for the request to stop."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass

import torch
import uvicorn

from studio.config.serve import ServeConfig, Transformers
from studio.config.workspace import Workspace
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec
from studio.runs.serving import Serving, forget_serving, write_serving
from studio.tasks.ends import end_tokens
from studio.tasks.failures import TaskError
from studio.tasks.machine import detect
from studio.tasks.serving import outside
from studio.tasks.serving.api import LOOPBACK, make_api
from studio.tasks.serving.engine import Engine
from studio.tasks.serving.loading import load
from studio.tasks.serving.served import Served
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag

STOPPED = 10  # exit code, as studio.runs reads it
LOOK_SECONDS = 0.2
REPORT_SECONDS = 2.0
POSITIONS_UNKNOWN = 4096  # context of a model whose config names none


def run(folder: RunFolder, job: JobSpec, config: ServeConfig, reporter: Reporter, stop: StopFlag) -> int:
    """Serve until somebody asks to stop; that is how every serving process ends. Raises TaskError, EngineError."""
    workspace = Workspace(folder.path.resolve().parent.parent)
    listening, key = _listen(config), _key(config)
    address = f"http://{config.serving.host}:{listening.getsockname()[1]}"
    reporter.phase("loading model", config.model.path)
    try:
        if isinstance(config.engine, Transformers):
            _serve_here(folder, config, workspace, Door(listening, address, key), reporter, stop)
        else:
            listening.close()  # the engine's server takes the port itself
            _serve_outside(folder, config, workspace, Door(listening, address, key), reporter, stop)
    finally:
        forget_serving(folder)
    reporter.phase("stopped")
    return STOPPED


@dataclass(frozen=True)
class Door:
    """Where clients come in: the socket, its address as they write it, and the key."""

    socket: socket.socket
    address: str
    key: str

    @property
    def port(self) -> int:
        """The number in the address."""
        return int(self.address.rpartition(":")[2])


def _serve_here(
    folder: RunFolder, config: ServeConfig, workspace: Workspace, door: Door, reporter: Reporter, stop: StopFlag
) -> None:
    machine = detect(config.devices.use)
    if config.devices.cpu_threads:
        torch.set_num_threads(config.devices.cpu_threads)
    loaded = load(config, workspace, machine)
    model, tokenizer, template = loaded.model, loaded.tokenizer, loaded.template
    trained_for = getattr(model.config.get_text_config(), "max_position_embeddings", None) or POSITIONS_UNKNOWN
    ends = end_tokens(model, tokenizer, template)
    engine = Engine(model, tokenizer, ends, config.serving.places, loaded.fronts)
    context = min(config.serving.context_len or trained_for, trained_for) - loaded.places
    served = Served(engine, tokenizer, template, loaded.names, context)
    api = make_api(served, door.key, loopback=config.serving.host in LOOPBACK)
    server = uvicorn.Server(uvicorn.Config(api, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, args=([door.socket],), name="listening", daemon=True)
    stop.armed = True
    engine.start()
    thread.start()
    _announce(folder, door, tuple(loaded.names), reporter)
    try:
        _wait(engine, thread, reporter, stop)
    finally:
        server.should_exit = True
        engine.close()
        thread.join(timeout=5)


def _serve_outside(
    folder: RunFolder, config: ServeConfig, workspace: Workspace, door: Door, reporter: Reporter, stop: StopFlag
) -> None:
    words = outside.command(config, workspace, door.port)
    stop.armed = True
    with outside.running(words, config.engine.type, door.key) as child:
        names = outside.wait_until_it_answers(child, door.address, door.key, lambda: stop.requested)
        if names:
            _announce(folder, door, names, reporter)
        while not stop.requested:
            if child.poll() is not None:
                raise TaskError("engine", f"The server ended with exit code {child.returncode}.", "Read the log.")
            time.sleep(LOOK_SECONDS)


def _announce(folder: RunFolder, door: Door, names: tuple[str, ...], reporter: Reporter) -> None:
    write_serving(folder, Serving(door.address, door.key, names))
    reporter.phase("serving", f"{', '.join(names)} at {door.address}/v1")


def _listen(config: ServeConfig) -> socket.socket:
    """The socket, taken before the model is loaded: a port in use is said at once. Raises TaskError."""
    chosen = config.serving
    if chosen.host not in LOOPBACK and not os.environ.get(chosen.key_variable):
        raise TaskError(
            "address",
            f"serving.host={chosen.host} would let everyone on the network ask this model.",
            f"Put a key into {chosen.key_variable} in the environment, or leave serving.host at 127.0.0.1.",
        )
    listening = socket.socket(socket.AF_INET6 if ":" in chosen.host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((chosen.host.strip("[]"), chosen.port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise TaskError(
            "address",
            f"{chosen.host}:{chosen.port} cannot be listened on: {error.strerror}.",
            "Set serving.port to another one, or to 0 for a free one.",
        ) from error
    return listening


def _key(config: ServeConfig) -> str:
    """The key of the environment; without one a fresh one that only the board learns, from a file of the run."""
    return os.environ.get(config.serving.key_variable) or secrets.token_urlsafe(24)


def _wait(engine: Engine, thread: threading.Thread, reporter: Reporter, stop: StopFlag) -> None:
    told = 0.0
    while not stop.requested:
        if not engine.alive or not thread.is_alive():
            raise TaskError("serving", "The serving thread has died.", "Its traceback is in the log. Start it again.")
        if time.monotonic() - told >= REPORT_SECONDS:
            told = time.monotonic()
            load = engine.load
            reporter.progress(load["decoding"], load["decoding"] + load["waiting"])
        time.sleep(LOOK_SECONDS)
