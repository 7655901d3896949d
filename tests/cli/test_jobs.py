"""`studio jobs` against runs that really run: look, stop, pause, resume, save, remove."""

from __future__ import annotations

import io

import pytest

from studio.config.io import parse, read_yaml
from studio.runs.checkpoints import checkpoints
from studio.runs.metrics import MetricsLog
from studio.runs.states import State
from tests.cli.conftest import Terminal, wait_for


def test_an_empty_workspace_says_how_to_begin(studio: Terminal) -> None:
    code, said, _ = studio("jobs", "list")
    assert code == 0
    assert "No run yet. `studio demo` starts one" in said


def test_list_and_show_a_run_on_its_way_and_at_its_end(studio: Terminal) -> None:
    studio.begin("first", steps=400)
    studio.begin("second", steps=3)
    studio.trains("first")
    lines = studio("jobs", "list")[1].splitlines()
    assert [line.split()[2] for line in lines] == ["running", "queued"]
    assert "/400" in lines[0] and lines[0].endswith("first")
    shown = studio("jobs", "show", "first")[1]
    assert "state        running, attempt 1" in shown
    assert "devices      cpu" in shown
    assert "/400" in shown
    studio("jobs", "stop", "first")
    assert studio.over("first") is State.STOPPED
    assert studio.over("second") is State.FINISHED
    shown = studio("jobs", "show", "second")[1]
    assert "steps        3/3" in shown
    assert "checkpoints  checkpoint-3" in shown


def test_a_failure_is_shown_with_its_cause_and_the_way_out(studio: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_KILL_AT", "3")
    studio.begin()
    assert studio.over() is State.FAILED
    assert "signal 9" in studio("jobs", "list")[1]
    shown = studio("jobs", "show", "run")[1]
    assert "cause        " in shown and "advice       " in shown


@pytest.mark.parametrize("command", ["show", "logs", "stop", "pause", "resume", "save", "remove"])
def test_an_unknown_run_is_named(studio: Terminal, command: str) -> None:
    code, said, complained = studio("jobs", command, "nobody")
    assert (code, said) == (2, "")
    assert "There is no run named 'nobody'. See `studio jobs list`." in complained


@pytest.mark.parametrize("command", ["stop", "pause", "save"])
def test_what_only_a_running_run_can_do_is_said_of_an_ended_one(studio: Terminal, command: str) -> None:
    studio.begin(steps=1)
    studio.over()
    code, _, complained = studio("jobs", command, "run")
    assert code == 2
    assert "run is finished, not running." in complained


def test_save_then_stop_leave_complete_checkpoints(studio: Terminal) -> None:
    folder = studio.begin()
    studio.trains()
    assert studio("jobs", "save", "run")[0] == 0
    wait_for(lambda: [point for point in checkpoints(folder) if point.complete], "a checkpoint on request")
    assert studio.state() is State.RUNNING
    code, said, _ = studio("jobs", "stop", "run")
    assert code == 0
    assert "asked to stop; it writes a checkpoint" in said
    assert studio.over() is State.STOPPED
    assert len([point for point in checkpoints(folder) if point.complete]) == 2


def test_stop_now_kills(studio: Terminal) -> None:
    folder = studio.begin()
    studio.trains()
    assert "killed" in studio("jobs", "stop", "run", "--now")[1]
    assert studio.over() is State.STOPPED
    assert not checkpoints(folder)


def test_a_waiting_run_is_taken_out_of_the_queue_or_held(studio: Terminal) -> None:
    studio.begin("first")
    studio.begin("waiting")
    studio.begin("held")
    assert "waiting: taken out of the queue" in studio("jobs", "stop", "waiting")[1]
    assert studio.state("waiting") is State.STOPPED
    assert "held: paused in the queue" in studio("jobs", "pause", "held")[1]
    assert "paused" in studio("jobs", "list")[1].splitlines()[2]
    assert "(paused)" in studio("jobs", "show", "held")[1]


def test_pause_gives_the_device_back_and_resume_goes_on(studio: Terminal) -> None:
    folder = studio.begin("paused", steps=60)
    studio.begin("next", steps=2)
    studio.trains("paused")
    assert "asked to pause" in studio("jobs", "pause", "paused")[1]
    assert studio.over("next") is State.FINISHED
    assert studio.state("paused") is State.QUEUED
    code, said, _ = studio("jobs", "resume", "paused")
    assert code == 0
    assert "Goes on from checkpoint-" in said
    assert studio.over("paused") is State.FINISHED
    log = MetricsLog(folder.metrics_file)
    log.poll()
    assert log.points("loss")[0] == list(range(1, 61))


def test_resume_with_other_settings_keeps_the_old_config(studio: Terminal) -> None:
    folder = studio.begin(steps=5)
    studio.over()
    before = folder.config_text()
    code, said, _ = studio("jobs", "resume", "run", "optimisation.max_steps=9", "optimisation.learning_rate=1e-5")
    assert code == 0
    assert "Goes on from checkpoint-5." in said
    assert studio.over() is State.FINISHED
    assert (folder.path / "config.1.yaml").read_text(encoding="utf-8") == before
    config = parse(read_yaml(folder.config_text()))
    assert (config.optimisation.max_steps, config.optimisation.learning_rate) == (9, 1e-5)
    assert folder.status().step == 9


def test_resume_from_a_chosen_checkpoint_with_settings_behind_the_option(studio: Terminal) -> None:
    folder = studio.begin(steps=400)
    studio.trains()
    studio("jobs", "save", "run")
    first = wait_for(lambda: [point for point in checkpoints(folder) if point.complete], "a checkpoint")[0]
    studio("jobs", "stop", "run")
    studio.over()
    later = first.step + 5
    words = ("--checkpoint", first.name, f"optimisation.max_steps={later}")
    assert f"Goes on from {first.name}." in studio("jobs", "resume", "run", *words)[1]
    assert studio.over() is State.FINISHED
    assert [point.step for point in checkpoints(folder)] == [first.step, later]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["optimisation.learning_rate=-1"], "-1 is too small"),
        (["--checkpoint", "checkpoint-77"], "checkpoint-77 of run does not exist. Complete ones: checkpoint-2."),
        (["other.yaml"], "'other.yaml' is not an override"),
    ],
)
def test_a_resume_that_cannot_be_changes_nothing(studio: Terminal, words: list[str], says: str) -> None:
    folder = studio.begin(steps=2)
    studio.over()
    before = folder.config_text()
    code, _, complained = studio("jobs", "resume", "run", *words)
    assert code == 2
    assert says in complained
    assert folder.config_text() == before
    assert studio.supervisor.job("run").attempt == 1


def test_a_running_run_is_neither_resumed_nor_removed(studio: Terminal) -> None:
    folder = studio.begin()
    studio.trains()
    assert "run is running. Stop it first" in studio("jobs", "resume", "run")[2]
    code, _, complained = studio("jobs", "remove", "run", "--yes")
    assert code == 2
    assert "run is running. Stop it first" in complained
    assert folder.config_text()


def test_remove_asks_and_does_nothing_without_an_answer(studio: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = studio.begin(steps=2)
    studio.over()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # not a terminal: nobody can have read the question
    code, said, complained = studio("jobs", "remove", "run")
    assert (code, said) == (2, "")
    assert "MB. Add --yes to delete it." in complained
    assert folder.path.is_dir()
    for answer in ("n\n", "\n", ""):
        monkeypatch.setattr("sys.stdin", Keyboard(answer))
        code, said, _ = studio("jobs", "remove", "run")
        assert code == 1
        assert f"Delete {folder.path}" in said and "Nothing was deleted." in said
        assert folder.path.is_dir()
    monkeypatch.setattr("sys.stdin", Keyboard("y\n"))
    code, said, _ = studio("jobs", "remove", "run")
    assert code == 0
    assert "run: removed, " in said
    assert not folder.path.exists()
    assert "No run yet" in studio("jobs", "list")[1]


class Keyboard(io.StringIO):
    """Someone at a terminal."""

    def isatty(self) -> bool:
        return True


def test_logs_hide_secrets_and_follow_to_the_end(studio: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecretvalue")
    folder = studio.begin(steps=100)
    studio.trains()
    with folder.log_file.open("a", encoding="utf-8") as log:
        log.write("the token is hf_verysecretvalue and the word is naïve\n")
    code, said, _ = studio("jobs", "logs", "run", "--follow")
    assert code == 0
    assert studio.state() is State.FINISHED, "it came back when the run had ended"
    assert "the token is *** and the word is naïve" in said
    assert studio("jobs", "logs", "run")[1] == said
