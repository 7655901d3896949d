"""`studio train` in a terminal: progress while it runs, the end in words, and Ctrl-C that leaves the run alone."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from studio.runs.states import State
from tests.cli.conftest import Terminal, wait_for

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Screen:
    """A process in a pseudo terminal and what stands on it."""

    process: subprocess.Popen[bytes]
    master: int
    raw: str = ""

    def text(self) -> str:
        """All that was written so far, without colours and cursor movements, line breaks as spaces."""
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.raw += os.read(self.master, 65536).decode("utf-8", errors="replace")
            except OSError:  # how Linux says that the other side is closed
                break
        return " ".join(_CONTROL.sub("", self.raw).split())

    def shows(self, pattern: str) -> re.Match[str]:
        return wait_for(lambda: re.search(pattern, self.text()), f"{pattern!r} on the screen")

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def code(self) -> int:
        """The exit code once it has ended."""

        def ended() -> bool:
            self.text()  # a full terminal would stop the process
            return self.process.poll() is not None

        wait_for(ended, "the command to end")
        return self.process.returncode


@pytest.fixture
def train(studio: Terminal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Screen]]:
    """A function (words) that types `studio train WORDS` into a terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    screens: list[Screen] = []

    def call(*words: str) -> Screen:
        master, slave = os.openpty()
        command = [*studio.fake, "train", studio.write("run.yaml"), "--workspace", str(studio.root), *words]

        def take_terminal() -> None:
            """Ctrl-C shall be a real one, also where the test runner ignores it and its children inherit that."""
            os.login_tty(slave)
            signal.signal(signal.SIGINT, signal.default_int_handler)

        process = subprocess.Popen(command, preexec_fn=take_terminal)
        os.close(slave)
        screens.append(Screen(process, master))
        return screens[-1]

    yield call
    for screen in screens:
        screen.process.kill()
        screen.process.wait()
        os.close(screen.master)


def test_progress_shows_steps_loss_and_time_left_until_the_end(studio: Terminal, train: Callable[..., Screen]) -> None:
    screen = train("name=seen", "optimisation.max_steps=120")
    screen.shows(r"training .* \d+/120 loss \d\.\d+ 0:\d\d left")
    assert screen.code() == 0
    assert screen.text().startswith(f"seen: {studio.root}/saves/seen")
    assert "120/120 loss" in screen.text()
    assert screen.text().endswith("seen: finished")


def test_ctrl_c_leaves_the_run_and_says_how_to_follow_and_stop_it(
    studio: Terminal, train: Callable[..., Screen]
) -> None:
    screen = train("name=left", "optimisation.max_steps=5000")
    screen.shows(r"\d+/5000 loss")
    screen.type(b"\x03")
    assert screen.code() == 130
    said = screen.text()
    assert "The run goes on" in said
    assert "`studio jobs logs left --follow`" in said and "`studio jobs stop left`" in said
    assert "Traceback" not in said
    step = studio.folder("left").status().step
    wait_for(lambda: studio.folder("left").status().step > step + 20, "the run to go on alone")
    assert studio("jobs", "stop", "left")[0] == 0
    assert studio.over("left") is State.STOPPED


def test_a_failed_run_says_why_and_fails_the_command(
    studio: Terminal, train: Callable[..., Screen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_KILL_AT", "4")
    screen = train("name=bad", "optimisation.max_steps=50")
    assert screen.code() == 1
    assert "bad: failed" in screen.text()
    assert "signal 9" in screen.text()
    job = studio.supervisor.job("bad")
    assert job.advice and " ".join(job.advice.split()) in screen.text()


def test_a_run_that_waits_says_so_and_begins_when_the_device_is_free(
    studio: Terminal, train: Callable[..., Screen]
) -> None:
    studio.begin("first", steps=3000)
    studio.trains("first")
    screen = train("name=second", "optimisation.max_steps=5")
    screen.shows("queued")
    studio("jobs", "stop", "first")
    assert screen.code() == 0
    assert screen.text().endswith("second: finished")


def test_a_stopped_run_is_no_error(studio: Terminal, train: Callable[..., Screen]) -> None:
    screen = train("name=halted", "optimisation.max_steps=5000")
    screen.shows(r"\d+/5000 loss")
    studio("jobs", "stop", "halted")
    assert screen.code() == 0
    assert "halted: stopped" in screen.text()
