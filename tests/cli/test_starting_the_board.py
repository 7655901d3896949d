"""`studio webui`: what is refused before anything heavy loads, and boards that share a port or a workspace."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from studio.runs.metrics import MetricsLog
from studio.runs.states import State
from tests.cli.conftest import ROOT, Terminal, wait_for


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_port_in_use_is_a_sentence_with_the_next_port(studio: Terminal, taken: int) -> None:
    code, said, complained = studio("webui", "--port", str(taken))
    assert (code, said) == (2, "")
    assert complained == (
        f"Port {taken} is in use: perhaps Studio runs already at http://127.0.0.1:{taken}. "
        f"Open that page, or choose another port: studio webui --port {taken + 1}\n"
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
def test_a_wider_bind_without_a_password_is_refused(
    studio: Terminal, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STUDIO_PASSWORD", raising=False)
    code, said, complained = studio("webui", "--host", host, "--port", str(free_port()))
    assert (code, said) == (2, "")
    assert f"--host {host} would open the board to everyone" in complained
    assert "STUDIO_PASSWORD" in complained


@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_what_is_no_port_is_refused(studio: Terminal, port: str) -> None:
    code, _, complained = studio("webui", f"--port={port}")
    assert code == 2
    assert f"{port} is not a port" in complained


def test_an_address_that_is_not_ours_is_a_sentence(studio: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_PASSWORD", "secret")
    code, _, complained = studio("webui", "--host", "192.0.2.1", "--port", str(free_port()))  # kept for documentation
    assert code == 2
    assert "Cannot listen on 192.0.2.1:" in complained and "Choose another --host or --port" in complained


class Board:
    """A running board, asked as its page asks."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        config = json.loads(self._get("/config"))
        self.component = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "runs")

    def _get(self, path: str, body: bytes | None = None) -> bytes:
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.address + path, data=body, headers=headers)
        return urllib.request.urlopen(request, timeout=30).read()

    def ask(self, function: str, **request: Any) -> dict[str, Any]:
        """The answer of `tick` or `act`."""
        body = {"session_hash": "test", "component_id": self.component, "fn_name": function, "data": request}
        return json.loads(self._get("/gradio_api/component_server", json.dumps(body).encode()))

    def runs(self) -> list[tuple[str, str]]:
        """Name and state of every run in the list."""
        return [(run["name"], run["state"]) for run in self.ask("tick")["list"]["runs"]]


@contextmanager
def process(studio: Terminal, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A process whose output goes to a pipe; killed at the end if it lives."""
    command = [sys.executable, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as started:
        try:
            yield started
        finally:
            started.kill()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_second_board_on_the_port_goes_away_and_ctrl_c_ends_the_first_but_no_run(studio: Terminal) -> None:
    port = free_port()
    words = ("-m", "studio", "webui", "--port", str(port), "--workspace", str(studio.root))
    with process(studio, *words) as first:
        wait_for(lambda: answers(port) or first.poll() is not None, "the port to be taken")
        with process(studio, *words) as second:  # the first is still loading: the port is its own already
            assert second.wait(30) == 2
            assert second.stdout is not None and f"Port {port} is in use" in second.stdout.read()
        assert first.stdout is not None
        assert first.stdout.readline().startswith(
            f"Studio is open at http://127.0.0.1:{port}  (workspace {studio.root}"
        )
        Board(port)
        studio.begin(steps=3000)
        studio.trains()
        first.send_signal(signal.SIGINT)
        assert first.wait(30) in (0, 130), "Ctrl-C is the usual end"
        assert "Traceback" not in first.stdout.read()
    step = studio.folder().status().step
    wait_for(lambda: studio.folder().status().step > step + 20, "the run to go on without a board")


def test_two_boards_on_one_workspace_show_the_same_and_start_a_run_once(studio: Terminal) -> None:
    # Both boards find it waiting when they come up. It is too long to end by itself before the slower one has asked.
    folder = studio.begin("shared", steps=100_000, start=False)
    ports = (free_port(), free_port())
    commands = [("tests/web/board.py", str(studio.root), str(port), "--fake") for port in ports]
    with process(studio, *commands[0]), process(studio, *commands[1]):
        wait_for(lambda: all(answers(port) for port in ports), "both boards to answer")
        one, two = (Board(port) for port in ports)
        studio.trains("shared")
        assert one.runs() == two.runs() == [("shared", "running")]
        one.ask("act", action="pause", run="shared")
        wait_for(lambda: studio.state("shared") is State.QUEUED, "the pause that one board asked for")
        assert two.runs() == [("shared", "queued")]
        replies = at_once(lambda board: board.ask("act", action="resume", run="shared"), [one, two])
        assert sorted("error" in reply for reply in replies) == [False, True], f"one of them came first: {replies}"
        studio.trains("shared")
        two.ask("act", action="stop_save", run="shared")
        wait_for(lambda: studio.state("shared") is State.STOPPED, "the end that the other board asked for")
        assert one.runs() == two.runs() == [("shared", "stopped")]
        pages = [board.ask("tick", run="shared", view="charts") for board in (one, two)]
        points = [page["panel"]["figures"][0]["curves"][0]["buckets"] for page in pages]
        assert points[0] == points[1] and points[0]
    assert studio.supervisor.job("shared").attempt == 3, "one start, one pause, one resume"
    log = MetricsLog(folder.metrics_file)
    log.poll()
    steps = log.points("loss")[0]
    assert len(steps) > 2 and steps == list(range(1, len(steps) + 1)), "no step is missing and none was made twice"


def at_once(call: Any, boards: list[Board]) -> list[dict[str, Any]]:
    """What each board answers to a call made to all at the same time."""
    replies: list[dict[str, Any]] = []
    gate = threading.Barrier(len(boards))

    def ask(board: Board) -> None:
        gate.wait()
        replies.append(call(board))

    threads = [threading.Thread(target=ask, args=(board,)) for board in boards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies
