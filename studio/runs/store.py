"""The job table and the device leases in SQLite: an index of the run folders that can be rebuilt from them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from studio.config.devices import NO_DEVICE
from studio.runs.devices import choose
from studio.runs.errors import CorruptDatabase, StoreError
from studio.runs.states import ACTIVE, State

BUSY_SECONDS = 15.0

MIGRATIONS = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        held INTEGER NOT NULL,
        devices_wanted TEXT NOT NULL,
        devices TEXT NOT NULL,
        place INTEGER NOT NULL,
        created REAL NOT NULL,
        started REAL,
        ended REAL,
        cause TEXT NOT NULL,
        advice TEXT NOT NULL,
        notice TEXT NOT NULL,
        attempt INTEGER NOT NULL
    );
    CREATE INDEX jobs_by_state ON jobs (state, place);
    CREATE TABLE leases (device TEXT PRIMARY KEY, job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE);
    """,
)
"""Each brings the schema one version further; entries are only ever appended."""

_ALIVE = "(" + ",".join(f"'{state}'" for state in sorted(ACTIVE)) + ")"
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_WAYS_OUT = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and try again",
    sqlite3.SQLITE_READONLY: "it is read-only; give yourself the right to write to it and to its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its folder exists and that you may write to it",
    sqlite3.SQLITE_BUSY: f"another process has kept it busy for {BUSY_SECONDS:.0f} s; try again",
    sqlite3.SQLITE_IOERR: "the disk reported an error; check the disk and its free space",
}


@dataclass(frozen=True)
class Job:
    """One row. Times are seconds since the epoch; `position` counts from 1 in the queue and is 0 outside it."""

    id: str
    name: str
    kind: str
    state: State
    created: float
    held: bool = False  # waits in the queue until somebody resumes it
    devices_wanted: str = "auto"  # auto, cpu or cuda:0,cuda:1
    devices: tuple[str, ...] = ()  # those of the newest attempt
    position: int = 0
    started: float | None = None
    ended: float | None = None
    cause: str = ""
    advice: str = ""
    notice: str = ""  # what the user should know though nothing went wrong
    attempt: int = 1

    @property
    def active(self) -> bool:
        """Whether something of it is, or was just, alive."""
        return self.state in ACTIVE


class Store:
    """The database at `path`, which is made when absent. Every call has a connection of its own: any thread may call.

    Every method raises StoreError when the database cannot be used, CorruptDatabase when it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"The folder of the job database, {path.parent}, cannot be made: {error.strerror}."
            raise StoreError(f"{text} Check your rights there and the disk.") from error
        self._migrate()

    # Reading

    def jobs(self, states: Iterable[State] = State) -> list[Job]:
        """Jobs in one of `states`, the oldest first."""
        wanted = tuple(states)
        marks = ",".join("?" * len(wanted))
        return self._select(f"WHERE state IN ({marks}) ORDER BY created, id", wanted)

    def queue(self) -> list[Job]:
        """Queued jobs in their order, held ones among them."""
        return self._select("WHERE state = 'queued' ORDER BY place, created, id", ())

    def job(self, name: str) -> Job | None:
        """The job of that name."""
        return next(iter(self._select("WHERE name = ?", (name,))), None)

    def leases(self) -> dict[str, str]:
        """Device name -> id of the job that has it."""
        with self._connection() as db:
            return dict(db.execute("SELECT device, job FROM leases"))

    # Changing

    def add(self, job: Job) -> None:
        """Insert a row at the end of the queue, with leases if it is active; nothing happens when its id is there.

        An ended row of the same name is dropped: its folder gave way to this one.
        """
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM jobs WHERE id = ?", (job.id,)).fetchone():
                return
            db.execute(f"DELETE FROM jobs WHERE name = ? AND state NOT IN {_ALIVE}", (job.name,))
            db.execute(
                "INSERT INTO jobs VALUES (?,?,?,?,?,?,?,(SELECT COALESCE(MAX(place), 0) + 1 FROM jobs),?,?,?,?,?,?,?)",
                (
                    *(job.id, job.name, job.kind, job.state, job.held, job.devices_wanted, ",".join(job.devices)),
                    *(job.created, job.started, job.ended, job.cause, job.advice, job.notice, job.attempt),
                ),
            )
            if job.active:
                leases = [(device, job.id) for device in job.devices if device != NO_DEVICE]
                db.executemany("INSERT OR IGNORE INTO leases VALUES (?,?)", leases)

    def claim(self, job_id: str, present: Sequence[str], reserved: Iterable[str], now: float) -> tuple[str, ...]:
        """Lease devices to a queued job and set it starting, or do nothing; returns the devices, empty for nothing.

        One transaction: of any number of callers one wins a job, and no device goes to two jobs. `present` are the
        machine's devices, `reserved` those that jobs further in front are waiting for.
        """
        with self._transaction() as db:
            row = db.execute(
                "SELECT devices_wanted FROM jobs WHERE id = ? AND state = 'queued' AND NOT held", (job_id,)
            ).fetchone()
            if row is None:
                return ()
            busy = {device for (device,) in db.execute("SELECT device FROM leases")} | set(reserved)
            chosen = choose(row[0], present, busy)
            if chosen:
                leased = [(device, job_id) for device in chosen if device != NO_DEVICE]
                db.executemany("INSERT INTO leases VALUES (?,?)", leased)
                db.execute(
                    "UPDATE jobs SET state = 'starting', devices = ?, started = ?, ended = NULL, cause = '',"
                    " advice = '' WHERE id = ?",
                    (",".join(chosen), now, job_id),
                )
            return chosen

    def change(self, job_id: str, to: State, among: Iterable[State]) -> bool:
        """Set the state if it is `among` these; whether it was."""
        return self._update_if(job_id, among, "state = ?", (to,))

    def finish(self, job_id: str, attempt: int, state: State, now: float, cause: str = "", advice: str = "") -> bool:
        """End an active attempt and free its devices; False when it is no longer active or another attempt is."""
        with self._transaction() as db:
            found = db.execute(
                "UPDATE jobs SET state = ?, ended = ?, cause = ?, advice = ?, held = 0"
                f" WHERE id = ? AND attempt = ? AND state IN {_ALIVE}",
                (state, now, cause, advice, job_id, attempt),
            )
            if found.rowcount:
                db.execute("DELETE FROM leases WHERE job = ?", (job_id,))
            return found.rowcount == 1

    def cancel(self, job_id: str, now: float, cause: str) -> bool:
        """End a job that is still queued."""
        values = "state = 'stopped', held = 0, ended = ?, cause = ?"
        return self._update_if(job_id, {State.QUEUED}, values, (now, cause))

    def requeue(self, job_id: str, attempt: int, among: Iterable[State], *, held: bool, notice: str) -> bool:
        """Put a job at the end of the queue for its next `attempt` and free its devices; False if not `among` these."""
        with self._transaction() as db:
            found = self._conditional(
                db,
                job_id,
                among,
                "state = 'queued', held = ?, notice = ?, attempt = ?, cause = '', advice = '', ended = NULL,"
                " place = (SELECT MAX(place) + 1 FROM jobs)",
                (held, notice, attempt),
            )
            if found:
                db.execute("DELETE FROM leases WHERE job = ?", (job_id,))
            return found

    def move(self, job_id: str, position: int) -> bool:
        """Give a queued job the place `position` (from 1; beyond the ends means first or last)."""
        with self._transaction() as db:
            rows = list(db.execute("SELECT id, place FROM jobs WHERE state = 'queued' ORDER BY place, created, id"))
            order, places = [row[0] for row in rows], [row[1] for row in rows]
            if job_id not in order:
                return False
            order.remove(job_id)
            order.insert(max(0, position - 1), job_id)
            db.executemany("UPDATE jobs SET place = ? WHERE id = ?", zip(places, order, strict=True))
            return True

    def remove(self, job_id: str) -> bool:
        """Forget a job that is not active; whether there was one."""
        with self._transaction() as db:
            found = db.execute(f"DELETE FROM jobs WHERE id = ? AND state NOT IN {_ALIVE}", (job_id,))
            return found.rowcount == 1

    # Underneath

    def _update_if(self, job_id: str, among: Iterable[State], assignments: str, values: tuple[object, ...]) -> bool:
        with self._transaction() as db:
            return self._conditional(db, job_id, among, assignments, values)

    @staticmethod
    def _conditional(
        db: sqlite3.Connection, job_id: str, among: Iterable[State], assignments: str, values: tuple[object, ...]
    ) -> bool:
        states = tuple(among)
        marks = ",".join("?" * len(states))
        found = db.execute(
            f"UPDATE jobs SET {assignments} WHERE id = ? AND state IN ({marks})", (*values, job_id, *states)
        )
        return found.rowcount == 1

    def _select(self, clause: str, values: tuple[object, ...]) -> list[Job]:
        with self._connection() as db:
            db.row_factory = sqlite3.Row
            rows = db.execute(
                "WITH line AS (SELECT id AS line_id, ROW_NUMBER() OVER (ORDER BY place, created, id) AS position"
                f" FROM jobs WHERE state = 'queued') SELECT * FROM jobs LEFT JOIN line ON line_id = id {clause}",
                values,
            )
            return [_job(row) for row in rows]

    def _migrate(self) -> None:
        with self._connection() as db:
            version: int = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise StoreError(
                    f"The job database {self.path} is of version {version} and this Studio knows {len(MIGRATIONS)}: it"
                    " was written by a newer Studio. Update Studio, or move the file away to have it rebuilt."
                )
            if version < len(MIGRATIONS):
                self._keep_a_log(db)
        while version < len(MIGRATIONS):
            with self._transaction() as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]  # another process may have been faster
                if version < len(MIGRATIONS):
                    for statement in filter(str.strip, MIGRATIONS[version].split(";")):
                        db.execute(statement)
                    version += 1
                    db.execute(f"PRAGMA user_version = {version}")

    @staticmethod
    def _keep_a_log(db: sqlite3.Connection) -> None:
        """Readers and one writer at once. Two that make the same new file are told "busy" without SQLite's own wait."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def check(self) -> None:
        """Read every page of the file; raises CorruptDatabase when something in it contradicts itself."""
        with self._connection() as db:
            verdict = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
        if verdict != "ok":
            raise CorruptDatabase(f"The job database {self.path} is damaged: {verdict}.")

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)) as db:
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("PRAGMA synchronous = NORMAL")  # in WAL a crash of the machine loses a row at most
                yield db
        except sqlite3.Error as error:
            raise _explained(self.path, error) from error

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")


def _job(row: sqlite3.Row) -> Job:
    read: Callable[[str], object] = row.__getitem__
    names = [name for name in Job.__dataclass_fields__ if name not in {"state", "held", "devices", "position"}]
    plain = {name: read(name) for name in names}
    return Job(
        **plain,  # pyright: ignore[reportArgumentType]  # the columns carry the fields' names and types
        state=State(str(read("state"))),
        held=bool(read("held")),
        devices=tuple(filter(None, str(read("devices")).split(","))),
        position=row["position"] or 0,
    )


def _explained(path: Path, error: sqlite3.Error) -> StoreError:
    """The error in words with a way out; extended codes carry the plain one in their low byte."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return CorruptDatabase(f"The job database {path} is damaged ({error}). Restart Studio to have it rebuilt.")
    return StoreError(f"The job database {path} cannot be used: {_WAYS_OUT.get(code, str(error))}.")
