"""Stopping, pausing, saving and resuming: what is asked is what happens, and no step is lost."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from studio.runs.checkpoints import checkpoints, newest_complete
from studio.runs.errors import NoCheckpoint, RunActive, RunNotActive
from studio.runs.metrics import MetricsLog
from studio.runs.states import State
from studio.runs.supervisor import Supervisor

if TYPE_CHECKING:
    from tests.runs.conftest import Bench

LONG = "steps: 2000\nstep_seconds: 0.01"


def test_stop_saves_a_checkpoint(bench: Bench) -> None:
    bench.submit(config=LONG)
    folder = bench.training()
    assert bench.supervisor.stop("run").state is State.STOPPING
    job = bench.ended()
    assert job.state is State.STOPPED
    assert folder.end().exit_code == 10
    newest = newest_complete(folder)
    assert newest is not None
    assert newest.step == folder.status().step == bench.steps()[-1]


def test_stop_in_the_queue_is_immediate_and_survives_a_rebuild(bench: Bench) -> None:
    bench.submit(config="steps: 1", hold=True)
    assert bench.supervisor.stop("run").state is State.STOPPED
    assert bench.folder().end().state is State.STOPPED
    with pytest.raises(RunNotActive, match="stopped"):
        bench.supervisor.stop("run")


def test_stop_before_training_does_not_wait(bench: Bench) -> None:
    bench.submit(config="load_seconds: 60")
    folder = bench.folder()
    bench.wait_for(lambda: folder.status().phase == "loading model", "the worker")
    bench.supervisor.stop("run")
    job = bench.ended()
    assert job.state is State.STOPPED
    assert folder.end().signal == signal.SIGTERM
    assert "before a checkpoint" in job.cause


def test_a_stubborn_worker_is_terminated_then_killed(bench: Bench) -> None:
    hasty = Supervisor(bench.workspace, bench.supervisor.worker, stop_grace_seconds=0.3, kill_grace_seconds=0.3)
    hasty.submit("run", "train", LONG + "\nignore_stop: yes\nignore_term: yes")
    folder = bench.training()
    bench.supervisor.stop("run")
    job = bench.ended()
    assert job.state is State.STOPPED
    assert "did not answer" in job.cause
    assert folder.end().signal == signal.SIGKILL


def test_sigterm_to_the_shim_is_a_stop_and_sigint_is_nothing(bench: Bench) -> None:
    bench.submit(config=LONG)
    folder = bench.training()
    shim, seen = folder.processes().shim_pid, folder.status().step
    os.kill(shim, signal.SIGINT)
    os.kill(shim, signal.SIGHUP)
    bench.wait_for(lambda: folder.status().step > seen + 20, "the run to go on")
    os.kill(shim, signal.SIGTERM)
    assert bench.ended().state is State.STOPPED
    assert folder.end().exit_code == 10


def test_save_now_saves_and_goes_on(bench: Bench) -> None:
    bench.submit(config=LONG)
    folder = bench.training()
    bench.supervisor.save_now("run")
    saved = bench.wait_for(lambda: newest_complete(folder), "the checkpoint")
    bench.wait_for(lambda: folder.status().step > saved.step, "the run to go on")
    bench.supervisor.stop("run")
    with pytest.raises(RunNotActive):
        bench.supervisor.save_now("run")
    assert bench.ended().state is State.STOPPED


def test_pause_gives_the_device_to_the_next_and_waits_held_at_the_end(bench: Bench) -> None:
    bench.submit(config="steps: 120\nstep_seconds: 0.01")
    bench.submit("second", config=LONG)
    bench.submit("third", config="steps: 1")
    folder = bench.training()
    bench.supervisor.pause("run")
    bench.training("second")
    job = bench.supervisor.job("run")
    assert (job.state, job.held, job.position) == (State.QUEUED, True, 2)
    assert folder.job().resume_from in job.notice
    bench.supervisor.kill("second")
    assert bench.ended("third").state is State.FINISHED
    assert bench.state() is State.QUEUED
    bench.supervisor.resume("run")
    assert bench.ended().state is State.FINISHED
    assert bench.steps() == list(range(1, 121))


def test_pause_in_the_queue_holds(bench: Bench) -> None:
    bench.submit("first", start=False)
    bench.submit("second", start=False)
    job = bench.supervisor.pause("first")
    assert (job.held, job.position) == (True, 2)
    assert [started.name for started in bench.supervisor.start_next()] == ["second"]
    assert bench.ended("second").state is State.FINISHED
    assert bench.state("first") is State.QUEUED


def test_a_finished_run_goes_on_for_more_steps(bench: Bench) -> None:
    bench.submit(config="steps: 5")
    assert bench.ended().state is State.FINISHED
    bench.supervisor.resume("run", config_text="steps: 9")
    assert bench.ended().state is State.FINISHED
    assert bench.steps() == list(range(1, 10))
    folder = bench.folder()
    assert folder.config_text() == "steps: 9"
    assert (folder.path / "config.1.yaml").read_text() == "steps: 5"
    assert "resuming from checkpoint-5" in folder.attempt_log_tail()


def test_resume_from_an_older_checkpoint_sets_the_later_ones_aside(bench: Bench) -> None:
    bench.submit(config="steps: 12\ncheckpoint_every: 4")
    bench.ended()
    bench.supervisor.resume("run", checkpoint="checkpoint-4", config_text="steps: 6")
    assert bench.ended().state is State.FINISHED
    assert bench.steps() == [1, 2, 3, 4, 5, 6]
    assert [entry.step for entry in checkpoints(bench.folder())] == [4, 6]
    aside = bench.folder().path / "abandoned" / "attempt-2"
    assert sorted(path.name for path in aside.iterdir()) == ["checkpoint-12", "checkpoint-8"]


def test_resume_passes_over_a_checkpoint_cut_in_half(bench: Bench) -> None:
    bench.submit(config="steps: 8\ncheckpoint_every: 4\nfail_at: 9")
    bench.ended()
    optimizer = bench.folder().checkpoint(8) / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:50])
    with pytest.raises(NoCheckpoint, match=r"optimizer\.pt is cut off.*Complete ones: checkpoint-4"):
        bench.supervisor.resume("run", checkpoint="checkpoint-8")
    job = bench.supervisor.resume("run")
    assert "Goes on from checkpoint-4." in job.notice
    assert "checkpoint-8 is incomplete" in job.notice
    assert bench.ended().state is State.FINISHED
    assert bench.steps() == list(range(1, 9))


def test_resume_without_a_checkpoint_begins_again_and_says_so(bench: Bench) -> None:
    bench.submit(config="steps: 6\nfail_at: 4")
    assert bench.ended().state is State.FAILED
    job = bench.supervisor.resume("run", config_text="steps: 6")
    assert "starts from the beginning" in job.notice
    assert bench.ended().state is State.FINISHED
    assert bench.steps() == [1, 2, 3, 4, 5, 6]


def test_an_active_run_is_neither_resumed_nor_removed(bench: Bench) -> None:
    bench.submit(config=LONG)
    bench.training()
    with pytest.raises(RunActive):
        bench.supervisor.resume("run")
    with pytest.raises(RunActive):
        bench.supervisor.remove("run")
    assert bench.state() is State.RUNNING


def test_the_workers_own_explanation_is_the_cause(bench: Bench) -> None:
    bench.submit(config="fail_at: 2\nexplain: yes\nfail_with: row 7 has no answer")
    job = bench.ended()
    assert (job.state, job.cause, job.advice) == (State.FAILED, "row 7 has no answer", "Mend the row.")


def test_without_an_explanation_the_last_exception_is_the_cause(bench: Bench) -> None:
    bench.submit(config="fail_at: 2\nfail_with: bad row 7")
    job = bench.ended()
    assert (job.state, job.cause) == (State.FAILED, "RuntimeError: bad row 7")


def test_a_worker_that_cannot_be_started_fails_with_the_reason(bench: Bench) -> None:
    Supervisor(bench.workspace, ("/no/such/python",)).submit("run", "train", "")
    job = bench.ended()
    assert job.state is State.FAILED
    assert "/no/such/python" in job.cause
    assert bench.supervisor.store.leases() == {}


def test_a_corrupt_job_file_is_put_in_order_from_the_row(bench: Bench) -> None:
    bench.submit(config="steps: 4")
    bench.ended()
    folder = bench.folder()
    folder.job_file.write_text('{"id": "ab')
    bench.supervisor.resume("run", config_text="steps: 7")
    assert bench.ended().state is State.FINISHED
    assert folder.job().name == "run"
    assert bench.steps() == list(range(1, 8))


def test_a_corrupt_status_is_empty_not_a_traceback(bench: Bench) -> None:
    bench.submit(config="steps: 2")
    bench.ended()
    folder = bench.folder()
    for text in ('{"phase": "tra', "[]", '{"step": "x", "notices": 3, "failure": [1]}', "\x00\xff", ""):
        folder.status_file.write_text(text)
        assert folder.status() == replace(folder.status(), phase="", step=0, notices=(), failure=None)


def test_the_abandoned_rows_of_a_resumed_run_are_out_of_sight(bench: Bench) -> None:
    bench.submit(config="steps: 30\nstep_seconds: 0.01\ncheckpoint_every: 10\nkill_at: 18")
    assert bench.ended().state is State.FAILED
    assert bench.steps()[-1] == 17
    bench.supervisor.resume("run", config_text="steps: 30")
    bench.ended()
    log = MetricsLog(bench.folder().metrics_file)
    log.poll()
    assert log.points("loss")[0] == list(range(1, 31))
    assert [event["step"] for event in log.events if event["event"] == "resumed"] == [10]
