"""A run's folder: its name, what becomes of one that is there already, and how much it holds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studio.runs.errors import BadName, NoSuchRun, RunActive, RunExists
from studio.runs.folder import RunFolder
from studio.runs.lock import hold, is_held
from studio.runs.records import End, JobSpec, Processes, Request, Status
from studio.runs.states import State

if TYPE_CHECKING:
    from tests.runs.conftest import Bench

LONG = "steps: 2000\nstep_seconds: 0.01"


@pytest.mark.parametrize(
    "name", ["", ".hidden", "a/b", "..", "a b", "x" * 101, "-flag", "é", "a\n", "studio.db", "studio.db-wal"]
)
def test_names_that_are_no_folders_are_refused(bench: Bench, name: str) -> None:
    with pytest.raises(BadName):
        bench.submit(name)
    assert bench.supervisor.jobs() == []


@pytest.mark.parametrize("name", ["a", "Qwen3-0.6B_lora.v2", "x" * 100])
def test_good_names_are_taken(bench: Bench, name: str) -> None:
    assert bench.submit(name, hold=True).name == name


def test_an_existing_run_is_not_overwritten_unasked(bench: Bench) -> None:
    bench.submit(config="steps: 1")
    bench.ended()
    with pytest.raises(RunExists) as caught:
        bench.submit(config="steps: 2")
    assert all(way in str(caught.value) for way in ("Resume", "another name", "replace"))
    assert bench.folder().config_text() == "steps: 1"


def test_rename_takes_the_next_free_name(bench: Bench) -> None:
    names = [bench.submit(config="steps: 1", if_exists="rename", hold=True).name for _ in range(3)]
    assert names == ["run", "run-2", "run-3"]
    long = [bench.submit("x" * 100, if_exists="rename", hold=True).name for _ in range(2)]
    assert long == ["x" * 100, "x" * 98 + "-2"]


def test_many_who_want_one_name_at_once_get_one_each(bench: Bench) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: bench.submit(if_exists="rename", hold=True), range(8)))
    assert {job.name for job in jobs} == {"run", *(f"run-{number}" for number in range(2, 9))}
    assert len({job.id for job in bench.supervisor.jobs()}) == 8
    with ThreadPoolExecutor(8) as pool:
        refused = list(pool.map(lambda _: _refused(bench), range(8)))
    assert refused.count(False) == 1


def _refused(bench: Bench) -> bool:
    try:
        bench.submit("wanted", hold=True)
    except RunExists:
        return True
    return False


def test_replace_begins_anew_and_leaves_nothing_behind(bench: Bench) -> None:
    old = bench.submit(config="steps: 3")
    bench.ended()
    new = bench.submit(config="steps: 1", if_exists="replace")
    assert new.id != old.id
    assert bench.ended().state is State.FINISHED
    assert bench.steps() == [1]
    assert [job.id for job in bench.supervisor.jobs()] == [new.id]
    assert [path.name for path in bench.workspace.saves.iterdir() if path.is_dir()] == ["run"]


def test_replace_is_refused_while_the_run_goes_on(bench: Bench) -> None:
    bench.submit(config=LONG)
    bench.training()
    with pytest.raises(RunActive, match="Stop it first"):
        bench.submit(config="steps: 1", if_exists="replace")
    assert bench.folder().config_text() == LONG
    assert bench.state() is State.RUNNING


def test_a_failed_replacement_puts_the_old_run_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.submit(config="steps: 1")
    bench.ended()
    rename = Path.rename

    def refuse_the_last_step(self: Path, target: Path) -> Path:
        if self.name.startswith(".new-"):
            raise OSError("the cable was pulled")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_last_step)
    with pytest.raises(Exception, match="the cable was pulled"):
        bench.submit(config="steps: 2", if_exists="replace")
    assert bench.folder().config_text() == "steps: 1"
    assert bench.state() is State.FINISHED


def test_if_exists_resume_continues_or_begins(bench: Bench) -> None:
    bench.submit(config="steps: 2", if_exists="resume")
    bench.ended()
    bench.submit(config="steps: 4", if_exists="resume")
    bench.ended()
    assert bench.steps() == [1, 2, 3, 4]
    assert bench.supervisor.job("run").attempt == 2


def test_remove_frees_what_it_says(bench: Bench) -> None:
    bench.submit(config="steps: 3")
    bench.ended()
    bench.wait_for(lambda: not is_held(bench.folder()), "the lock")
    size = sum(path.stat().st_size for path in bench.folder().path.rglob("*") if path.is_file())
    assert bench.folder().size_bytes() == size > 0
    assert bench.supervisor.remove("run") == size
    assert not bench.folder().path.exists()
    with pytest.raises(NoSuchRun):
        bench.supervisor.job("run")
    assert bench.submit(config="steps: 1").state in {State.STARTING, State.RUNNING}


def test_records_survive_the_way_through_the_disk(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    job = JobSpec(
        "1", "run", "train", "cuda:0", ("cuda:0",), ("python", "-m", "x"), 1.5, True, "checkpoint-3", 2, 1.0, 2.0
    )
    status = Status("training", 3, 10, 4.5, "hello", 1.0, {"trainable": 5}, {"float32": 5}, ("a notice",))
    folder.write_job(job)
    folder.write_status(status)
    folder.write_processes(Processes(2, 3, 4.0, 5, 6.0, 7))
    folder.write_end(End(State.FAILED, 2, None, 9, "cause", "advice", "data", 3.0))
    assert (folder.job(), folder.status()) == (job, status)
    assert folder.processes() == Processes(2, 3, 4.0, 5, 6.0, 7)
    assert folder.end() == End(State.FAILED, 2, None, 9, "cause", "advice", "data", 3.0)
    assert [folder.write_request("save_now").serial, folder.write_request("stop", requeue=True).serial] == [1, 2]
    assert folder.request().requeue


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", '"x"', '{"state": "dancing", "serial": "a", "attempt": []}', "\x00", "[" * 9999]
)
def test_damaged_records_read_as_empty_ones(tmp_path: Path, text: str) -> None:
    folder = RunFolder(tmp_path)
    for file in (folder.job_file, folder.status_file, folder.process_file, folder.request_file, folder.end_file):
        file.write_text(text)
    assert (folder.job(), folder.status(), folder.processes()) == (JobSpec(), Status(), Processes())
    assert (folder.request(), folder.end()) == (Request(), End())


def test_the_lock_is_one_and_goes_with_its_last_holder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert not is_held(folder)
    with hold(folder) as ours, hold(folder, wait=0.05) as second:
        assert (ours, second, is_held(folder)) == (True, False, True)
    assert not is_held(folder)


def test_the_lock_of_a_folder_moved_away_is_none(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with hold(folder) as ours:
        assert ours
        folder.path.rename(tmp_path / "aside")
        folder.path.mkdir()
        with hold(folder) as theirs:
            assert theirs
