"""The helper process behind the board: asked, watched, cancelled, restarted, and never left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from studio.config.workspace import Workspace
from studio.runs.inspector import Inspector, InspectorError, inspector_of

STUB = (sys.executable, str(Path(__file__).with_name("stub_helper.py")))
PATIENCE_SECONDS = 30.0


def wait_for(fact: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def inspector(tmp_path: Path) -> Iterator[Inspector]:
    made = Inspector(Workspace(tmp_path), STUB)
    yield made
    made.close()


def test_no_process_is_started_before_the_first_question(inspector: Inspector) -> None:
    assert inspector.pid is None
    assert inspector.ask("echo", {"word": "七"})["word"] == "七"
    assert inspector.pid is not None


def test_one_process_answers_many_pages_at_once(inspector: Inspector) -> None:
    replies: dict[int, int] = {}

    def page(number: int) -> None:
        reply = inspector.ask("echo", {"number": number})
        assert reply["number"] == number
        replies[number] = reply["pid"]

    threads = [threading.Thread(target=page, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(replies) == set(range(20)) and len(set(replies.values())) == 1


def test_a_refusal_comes_as_its_own_words(inspector: Inspector) -> None:
    with pytest.raises(InspectorError, match=r"No such thing\. Choose another\.") as caught:
        inspector.ask("fail", {})
    assert caught.value.kind == "model"
    assert inspector.ask("echo", {})


def test_a_long_question_is_watched_and_cancelled(inspector: Inspector) -> None:
    asked = inspector.begin("count", {})
    wait_for(lambda: asked.done > 3, "some progress")
    assert inspector.find(asked.ticket) is asked
    assert inspector.begin("count", {}) is asked, "two pages watch one count"
    inspector.cancel(asked.ticket)
    assert asked.ended.wait(PATIENCE_SECONDS)
    with pytest.raises(InspectorError) as caught:
        asked.result()
    assert caught.value.kind == "cancelled"
    assert inspector.begin("count", {}) is not asked
    inspector.cancel(asked.ticket + 1)


def test_a_helper_that_dies_fails_its_question_and_is_replaced(inspector: Inspector) -> None:
    first = inspector.ask("echo", {})["pid"]
    with pytest.raises(InspectorError, match="exit code 3"):
        inspector.ask("die", {})
    assert "I was told to" in inspector.log_file.read_text(encoding="utf-8")
    second = inspector.ask("echo", {})["pid"]
    assert second != first
    psutil.Process(second).kill()
    wait_for(lambda: inspector.pid is None, "the death to be noticed")
    assert inspector.ask("echo", {})["pid"] not in (first, second)


def test_a_helper_that_hangs_is_ended(inspector: Inspector) -> None:
    pid = inspector.ask("echo", {})["pid"]
    with pytest.raises(InspectorError, match="took longer than 0 s and was stopped"):
        inspector.ask("hang", {}, seconds=0.1)
    wait_for(lambda: not alive(pid), "the hanging helper to end")
    assert inspector.ask("echo", {})["pid"] != pid


def test_what_is_no_answer_is_passed_over(inspector: Inspector) -> None:
    assert inspector.ask("noise", {}) == {}


def test_an_unknown_ticket_says_so(inspector: Inspector) -> None:
    with pytest.raises(InspectorError, match="not known any more"):
        inspector.find(99)


def test_it_rests_after_a_while_without_questions(tmp_path: Path) -> None:
    inspector = Inspector(Workspace(tmp_path), STUB, idle_seconds=0.1)
    pid = inspector.ask("echo", {})["pid"]
    wait_for(lambda: not alive(pid), "the idle helper to end")
    assert inspector.ask("echo", {})["pid"] != pid
    inspector.close()


def test_it_does_not_rest_while_something_is_asked(tmp_path: Path) -> None:
    inspector = Inspector(Workspace(tmp_path), STUB, idle_seconds=0.05)
    inspector.ask("echo", {})
    asked = inspector.begin("count", {})
    wait_for(lambda: asked.done > 20, "a count that outlives the rest")
    assert not asked.ended.is_set()
    inspector.close()


def test_a_helper_ends_with_its_board_however_that_ends(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from studio.config.workspace import Workspace\n"
        "from studio.runs.inspector import Inspector\n"
        f"inspector = Inspector(Workspace(Path({str(tmp_path)!r})), {STUB!r})\n"
        "print(inspector.ask('echo', {})['pid'], flush=True)\n"
        "inspector.begin('hang', {})\n"
        "time.sleep(3600)\n"
    )
    board = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert board.stdout is not None
    pid = int(board.stdout.readline())
    assert alive(pid)
    board.send_signal(signal.SIGKILL)
    board.wait()
    board.stdout.close()
    wait_for(lambda: not alive(pid), "the helper of a killed board to end, even in the midst of a question")


def test_there_is_one_for_a_workspace(tmp_path: Path) -> None:
    assert inspector_of(Workspace(tmp_path)) is inspector_of(Workspace(tmp_path))
