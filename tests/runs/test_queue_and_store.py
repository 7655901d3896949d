"""The queue and the database: no job is started twice, no device given twice, and a damaged database is no loss."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studio.config.workspace import Workspace
from studio.runs.adopt import open_store
from studio.runs.errors import BadDevices, CorruptDatabase, DiskFull, RunActive, StoreError
from studio.runs.launch import start_next
from studio.runs.lock import is_held
from studio.runs.states import ACTIVE, State
from studio.runs.store import Job, Store
from studio.runs.supervisor import Supervisor

if TYPE_CHECKING:
    from tests.runs.conftest import Bench

GPUS = ["cuda:0", "cuda:1", "cuda:2"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "saves" / "studio.db")


def queued(name: str, created: float, wanted: str = "auto") -> Job:
    return Job(f"id-{name}", name, "train", State.QUEUED, created, devices_wanted=wanted)


def essence(jobs: list[Job]) -> dict[str, tuple[object, ...]]:
    return {job.name: (job.id, job.kind, job.state, job.held, job.cause, job.devices) for job in jobs}


def test_eight_threads_twenty_jobs_three_devices_give_three_winners(store: Store) -> None:
    for number in range(20):
        store.add(queued(f"job{number}", number))
    start = threading.Barrier(8)

    def claim_all(_: int) -> list[tuple[str, ...]]:
        start.wait()
        return [store.claim(job.id, GPUS, (), 1.0) for job in store.queue()]

    with ThreadPoolExecutor(8) as pool:
        results = [devices for claims in pool.map(claim_all, range(8)) for devices in claims if devices]
    assert sorted(results) == [("cuda:0",), ("cuda:1",), ("cuda:2",)]
    active = store.jobs(ACTIVE)
    assert len(active) == 3
    assert store.leases() == {job.devices[0]: job.id for job in active}
    assert len(store.queue()) == 17


def test_many_may_make_the_database_at_once(tmp_path: Path) -> None:
    for round_number in range(10):
        path = tmp_path / str(round_number) / "studio.db"
        start = threading.Barrier(8)

        def make(number: int, path: Path = path, start: threading.Barrier = start) -> None:
            start.wait()
            Store(path).add(queued(f"job{number}", number))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(make, range(8)))
        assert len(Store(path).jobs()) == 8


def test_ended_once_however_many_say_so(store: Store) -> None:
    store.add(queued("job", 1.0))
    store.claim("id-job", GPUS, (), 1.0)
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda n: store.finish("id-job", 1, State.FAILED, n, f"cause {n}"), range(8)))
    assert ends.count(True) == 1
    assert store.leases() == {}
    assert not store.finish("id-job", 1, State.FINISHED, 9.0)


def test_an_earlier_attempt_cannot_end_the_present_one(store: Store) -> None:
    store.add(queued("job", 1.0))
    store.requeue("id-job", 2, {State.QUEUED}, held=False, notice="")
    store.claim("id-job", GPUS, (), 1.0)
    assert not store.finish("id-job", 1, State.LOST, 2.0)
    assert store.finish("id-job", 2, State.FINISHED, 2.0)


def test_two_supervisors_never_start_a_job_twice(bench: Bench) -> None:
    other = Supervisor(bench.workspace, bench.supervisor.worker)
    for number in range(4):
        bench.submit(f"job{number}", config="steps: 2", start=False)
    start = threading.Barrier(6)

    def tick(supervisor: Supervisor) -> list[str]:
        start.wait()
        return [name for _ in range(5) for name in start_next(supervisor.workspace, supervisor.store)]

    with ThreadPoolExecutor(6) as pool:
        started = Counter(name for names in pool.map(tick, [bench.supervisor, other] * 3) for name in names)
    assert set(started.values()) <= {1}
    for number in range(4):
        assert bench.ended(f"job{number}").state is State.FINISHED
        assert bench.folder(f"job{number}").log_file.read_text().count("attempt 1 on cpu") == 1
        assert bench.steps(f"job{number}") == [1, 2]


def test_the_queue_is_ordered_and_can_be_reordered(store: Store) -> None:
    for number, name in enumerate("abcd"):
        store.add(queued(name, number))
    assert store.move("id-d", 1)
    assert store.move("id-a", 99)
    assert [(job.name, job.position) for job in store.queue()] == [("d", 1), ("b", 2), ("c", 3), ("a", 4)]
    store.cancel("id-b", 1.0, "")
    assert [job.position for job in store.queue()] == [1, 2, 3]
    assert not store.move("id-b", 1)


@pytest.mark.usefixtures("two_gpus")
def test_a_job_that_waits_blocks_only_the_devices_it_wants(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.submit("long", config="steps: 2000\nstep_seconds: 0.01", devices_wanted="cuda:0")
    bench.submit("waits", devices_wanted="cuda:0", start=False)
    bench.submit("held", devices_wanted="cuda:1", hold=True)
    bench.submit("other", config="load_seconds: 60", devices_wanted="cuda:1")
    assert bench.state("waits") is bench.state("held") is State.QUEUED
    assert bench.supervisor.job("other").devices == ("cuda:1",)
    assert bench.folder("other").job().devices == ("cuda:1",)


@pytest.mark.usefixtures("two_gpus")
def test_a_job_for_both_gpus_is_not_overtaken_for_ever(bench: Bench) -> None:
    bench.submit("first", config="load_seconds: 60", devices_wanted="cuda:0")
    bench.submit("both", devices_wanted="cuda:0,cuda:1")
    bench.submit("behind", devices_wanted="cuda:1")
    bench.submit("anywhere", devices_wanted="auto")
    assert [bench.state(name) for name in ("both", "behind", "anywhere")] == [State.QUEUED] * 3


def test_jobs_that_compute_on_nothing_wait_for_nobody_and_keep_nobody_waiting(bench: Bench) -> None:
    bench.submit("trains", config="load_seconds: 60", devices_wanted="cpu")
    for name in ("asks", "asks-too"):
        bench.submit(name, config="load_seconds: 60", devices_wanted="none")
        assert bench.supervisor.job(name).devices == ("none",)
    bench.supervisor.kill("trains")
    bench.wait_for(lambda: bench.state("trains") not in ACTIVE, "the end of the run")
    bench.submit("next", config="load_seconds: 60", devices_wanted="auto")
    assert bench.supervisor.job("next").devices == ("cpu",)


def test_devices_that_are_not_there_are_refused(bench: Bench) -> None:
    with pytest.raises(BadDevices, match="no cuda:7; it has cpu"):
        bench.submit(devices_wanted="cuda:7")
    with pytest.raises(BadDevices, match="not understood"):
        bench.submit(devices_wanted="gpu")
    assert bench.supervisor.jobs() == []


def test_a_failed_spawn_frees_the_lease(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    bench.submit()
    job = bench.supervisor.job("run")
    assert job.state is State.FAILED
    assert "/no/such/python" in job.cause
    assert bench.supervisor.store.leases() == {}


def test_only_queued_jobs_move(bench: Bench) -> None:
    bench.submit(config="load_seconds: 60")
    with pytest.raises(RunActive):
        bench.supervisor.move("run", 1)


def test_a_corrupt_database_is_moved_aside_and_rebuilt(bench: Bench) -> None:
    bench.submit("done", config="steps: 2")
    bench.ended("done")
    bench.submit("failed", config="fail_at: 1")
    bench.ended("failed")
    bench.submit("running", config="steps: 2000\nstep_seconds: 0.01")
    bench.training("running")
    bench.submit("waiting")
    bench.submit("held", hold=True)
    bench.submit("cancelled", start=False)
    bench.supervisor.stop("cancelled")
    before = essence(bench.supervisor.jobs())
    database = bench.workspace.database
    database.write_bytes(b"this is no database" * 1000)
    for name in ("studio.db-wal", "studio.db-shm"):
        (database.parent / name).unlink(missing_ok=True)

    bench.supervisor.reconcile()

    assert essence(bench.supervisor.jobs()) == before
    assert list(database.parent.glob("studio.db.corrupt-*"))
    assert bench.supervisor.store.leases() == {"cpu": before["running"][0]}
    bench.supervisor.stop("running")
    assert bench.ended("running").state is State.STOPPED
    assert bench.ended("waiting").state is State.FINISHED
    assert bench.state("held") is State.QUEUED


def test_two_that_find_the_damage_rebuild_once(bench: Bench) -> None:
    bench.submit(config="steps: 1")
    bench.ended()
    bench.workspace.database.write_bytes(b"x" * 5000)
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: open_store(bench.workspace), range(4)))
    assert [len(store.jobs()) for store in stores] == [1] * 4
    assert len(list(bench.workspace.saves.glob("studio.db.corrupt-????????-??????-????"))) == 1


def test_a_run_without_a_readable_job_file_is_rebuilt_as_well(bench: Bench) -> None:
    bench.submit(config="steps: 1")
    bench.ended()
    bench.folder().job_file.write_text('{"id"')
    bench.workspace.database.unlink()
    store = open_store(bench.workspace)
    bench.supervisor.store = store
    bench.supervisor.reconcile()
    job = bench.supervisor.job("run")
    assert (job.state, job.kind) == (State.FINISHED, "train")
    assert bench.folder().job().id == job.id


def test_copied_folders_become_runs_and_removed_ones_go(bench: Bench) -> None:
    bench.submit(config="steps: 1")
    bench.ended()
    folder = bench.folder().path
    subprocess.run(["cp", "-r", folder, folder.with_name("copy")], check=True)
    bench.supervisor.reconcile()
    jobs = {job.name: job for job in bench.supervisor.jobs()}
    assert set(jobs) == {"run", "copy"}
    assert jobs["copy"].state is State.FINISHED
    assert jobs["copy"].id != jobs["run"].id
    folder.rename(folder.with_name("renamed"))
    bench.supervisor.reconcile()
    assert {job.name for job in bench.supervisor.jobs()} == {"renamed", "copy"}


def test_a_database_of_a_newer_studio_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    Store(path)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer Studio") as caught:
        Store(path)
    assert not isinstance(caught.value, CorruptDatabase)


def test_a_database_that_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "studio.db").mkdir()
    with pytest.raises(StoreError, match="cannot be opened; check"):
        Store(tmp_path / "studio.db")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one mebibyte in memory."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is not permitted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> None:
    """Write until nothing fits any more."""
    with (path / "ballast").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            os.fsync(file.fileno())


def test_a_full_disk_is_said_before_the_run(bench: Bench, tiny_disk: Path) -> None:
    supervisor = Supervisor(Workspace(tiny_disk), bench.supervisor.worker)
    with pytest.raises(DiskFull, match=r"MiB are free.*Remove old runs"):
        supervisor.submit("run", "train", "")
    assert supervisor.jobs() == []
    assert not (tiny_disk / "saves" / "run").exists()


def test_a_full_disk_is_a_sentence_from_the_store(tiny_disk: Path) -> None:
    store = Store(tiny_disk / "studio.db")
    fill(tiny_disk)
    with pytest.raises(StoreError, match=r"free|full"):
        for number in range(2000):
            store.add(queued(f"job{number}", number))


def test_a_disk_that_fills_up_during_a_run_fails_it_with_that_cause(
    bench: Bench, tiny_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.runs.placing.MINIMUM_FREE_BYTES", 1)
    bench.workspace = Workspace(tiny_disk)
    bench.supervisor = Supervisor(bench.workspace, bench.supervisor.worker)
    bench.submit(config="steps: 100000\nstep_seconds: 0.001")
    folder = bench.training()
    fill(tiny_disk)
    bench.wait_for(lambda: not is_held(folder), "the end of the run")
    (tiny_disk / "ballast").unlink()
    job = bench.settled()
    assert job.state is State.FAILED
    assert "disk is full" in job.cause
    assert bench.supervisor.store.leases() == {}


def test_a_tick_is_cheap(bench: Bench) -> None:
    for number in range(200):
        bench.supervisor.submit(f"run{number}", "train", "", hold=True)
    began = time.perf_counter()
    bench.supervisor.reconcile()
    bench.supervisor.jobs()
    assert time.perf_counter() - began < 0.5
