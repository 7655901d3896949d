"""The job as the process that it is: queued, killed, resumed, stopped, and what it says when it cannot begin."""

from __future__ import annotations

import socket

import psutil
import pytest

from studio.config.workspace import ALLOW_VARIABLE
from studio.data.generated import FILE
from studio.runs.states import State
from studio.tasks.entry import JOBS
from tests.fake_endpoint import FakeEndpoint
from tests.generate.conftest import KEY, Study, wait_for


def test_a_job_runs_to_its_end_and_the_key_is_in_no_file(study: Study) -> None:
    with FakeEndpoint() as endpoint:
        study.begin(endpoint, rows={"count": 20})
        job = study.over()
    assert job.state is State.FINISHED, job.cause
    assert job.devices == ("none",) or not job.devices, "it computes on nothing of this machine"
    assert len(study.generated.rows) == 20 and len(endpoint.requests) == 7
    assert {asked.key for asked in endpoint.requests} == {f"Bearer {KEY}"}
    assert (study.status.step, study.status.total, study.status.phase) == (20, 20, "finished")
    assert study.files_with(KEY) == []


def test_killed_in_the_midst_it_goes_on_with_exactly_what_is_missing(study: Study) -> None:
    with FakeEndpoint(delay_seconds=0.1) as endpoint:
        study.begin(endpoint, rows={"count": 45})
        wait_for(lambda: len(study.generated.finished) >= 4, "four finished requests")
        known = study.folder.processes()
        for pid in (known.shim_pid, known.worker_pid):  # the shim first, so that it writes no end
            psutil.Process(pid).kill()
        assert study.over().state is State.LOST
        before = study.generated
        seen = len(endpoint.requests)
        with (study.folder.path / FILE).open("a", encoding="utf-8") as file:
            file.write('{"key": "half')
        assert study.supervisor.resume("run").notice == "Goes on with what its folder holds."
        assert study.over().state is State.FINISHED

    after = study.generated
    assert after.rows[: len(before.rows)] == before.rows and len(after.rows) == 45
    assert len({finished.key for finished in after.finished}) == len(after.finished) == 15
    again = {asked.prompt for asked in endpoint.requests[seen:]}
    # The fake answers in order: what came before the first attempt's unfinished requests was finished.
    finished = {prompt for prompt, times in endpoint.prompts().items() if times == 1} - again
    assert len(finished) >= len(before.finished)
    assert len(again) == 15 - len(before.finished), "one request for each that was missing, none for a finished one"
    assert len(endpoint.requests) - seen == 15 - len(before.finished)


def test_a_stop_waits_for_answers_under_way_and_the_resumed_job_ends(study: Study) -> None:
    with FakeEndpoint(delay_seconds=0.2) as endpoint:
        study.begin(endpoint, rows={"count": 36})
        wait_for(lambda: len(study.generated.finished) >= 2, "two finished requests")
        study.supervisor.stop("run")
        assert study.over().state is State.STOPPED
        stopped_with = len(study.generated.finished)
        assert stopped_with == len(endpoint.requests), "every request that was sent is kept"
        study.supervisor.resume("run")
        assert study.over().state is State.FINISHED
    assert len(study.generated.rows) == 36 and set(endpoint.prompts().values()) == {1}


def test_an_endpoint_that_is_down_is_named(study: Study) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    study.begin(f"http://{address}/v1", endpoint={"retries": 1})
    job = study.over()
    assert job.state is State.FAILED
    assert address in job.cause and "cannot be reached" in job.cause and "endpoint.base_url" in job.advice


def test_a_missing_key_is_named(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with FakeEndpoint() as endpoint:
        study.begin(endpoint)
        job = study.over()
    assert job.state is State.FAILED and endpoint.requests == []
    assert "OPENAI_API_KEY is not set" in job.cause and "resume" in job.advice


def test_a_wrong_key_that_the_endpoint_repeats_is_in_no_file(study: Study) -> None:
    with FakeEndpoint(lambda asked: "401") as endpoint:
        study.begin(endpoint)
        job = study.over()
    assert job.state is State.FAILED and "answered 401" in job.cause and "endpoint.key_variable" in job.advice
    assert KEY not in job.cause and study.files_with(KEY) == []


def test_the_worker_loads_no_training_stack() -> None:
    import subprocess
    import sys

    code = (
        f"import sys, {JOBS['generate']}; print([n for n in ('torch', 'transformers', 'datasets') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "[]", found.stderr


def test_documents_of_an_allowed_folder_are_read_and_no_others(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "tides.md").write_text("The tides follow the moon, twice a day and a little later each day.")
    source = {"type": "documents", "paths": [str(outside)]}
    with FakeEndpoint() as endpoint:
        study.begin(endpoint, source=source, rows={"count": 3})
        refused = study.over()
        assert refused.state is State.FAILED and "outside the workspace" in refused.cause and not endpoint.requests
        monkeypatch.setenv(ALLOW_VARIABLE, str(outside))
        study.supervisor.resume("run")
        assert study.over().state is State.FINISHED
    assert study.generated.finished[0].origin == "tides.md, passage 1"
