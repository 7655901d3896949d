"""A run's folder: the names of its files, and reading and writing each of them."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path

from studio.runs.atomic import read_json, read_text, tail, write_json, write_text
from studio.runs.records import End, JobSpec, Processes, Request, Status

LOG_TAIL_BYTES = 64 * 1024


class RunFolder:
    """One folder under saves/. Reading never raises for absent or damaged files: it gives an empty record."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.config_file = self.path / "config.yaml"
        self.job_file = self.path / "job.json"
        self.status_file = self.path / "status.json"
        self.process_file = self.path / "process.json"
        self.request_file = self.path / "request.json"
        self.end_file = self.path / "end.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.completions_file = self.path / "completions.jsonl"
        self.log_file = self.path / "log.txt"
        self.lock_file = self.path / "lock"
        self.tensorboard = self.path / "runs"

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def checkpoint(self, step: int) -> Path:
        """Where the checkpoint of `step` lies or would lie."""
        return self.path / f"checkpoint-{step}"

    def config_text(self) -> str:
        """The config as it was written; empty when absent."""
        return read_text(self.config_file)

    def job(self) -> JobSpec:
        """What shall run."""
        return JobSpec.read(read_json(self.job_file))

    def status(self) -> Status:
        """Where the worker is."""
        return Status.read(read_json(self.status_file))

    def processes(self) -> Processes:
        """Who runs the newest attempt."""
        return Processes.read(read_json(self.process_file))

    def request(self) -> Request:
        """What the worker is asked to do in this attempt."""
        return Request.read(read_json(self.request_file))

    def end(self) -> End:
        """How the newest attempt that ended did so."""
        return End.read(read_json(self.end_file))

    def log_tail(self, size: int = LOG_TAIL_BYTES, start: int = 0) -> str:
        """The last `size` bytes of the log, nothing before the byte `start`. Mask secrets before showing it."""
        return tail(self.log_file, size, start)

    def attempt_log_tail(self, size: int = LOG_TAIL_BYTES) -> str:
        """The last `size` bytes of what the newest attempt wrote."""
        return self.log_tail(size, self.processes().log_start)

    def write_config(self, text: str) -> None:
        """Put `text` in place as config.yaml. Raises OSError."""
        write_text(self.config_file, text)

    def exchange_config(self, text: str) -> None:
        """Like `write_config`, but the config before is kept as config.1.yaml, config.2.yaml … Raises OSError."""
        if self.config_file.exists():
            number = 1
            while (kept := self.path / f"config.{number}.yaml").exists():
                number += 1
            write_text(kept, self.config_text())
        self.write_config(text)

    def write_job(self, job: JobSpec) -> None:
        """For submit, resume and start, with the lock held. Raises OSError."""
        write_json(self.job_file, asdict(job))

    def write_status(self, status: Status) -> None:
        """For the worker alone. Not forced to the disk: it is written every step. Raises OSError."""
        write_json(self.status_file, asdict(status), durable=False)

    def write_processes(self, processes: Processes) -> None:
        """For the shim alone. Raises OSError."""
        write_json(self.process_file, asdict(processes))

    def write_request(self, action: str, *, requeue: bool = False) -> Request:
        """Ask the worker for `action` (stop, save_now, kill) in place of what was asked before. Raises OSError."""
        request = Request(self.request().serial + 1, action, requeue, time.time())
        write_json(self.request_file, asdict(request))
        return request

    def write_end(self, end: End) -> None:
        """For the shim and for whoever settles in its place, with the lock held. Raises OSError."""
        write_json(self.end_file, asdict(end))

    def forget_attempt(self) -> None:
        """Remove what an earlier attempt said about itself, before a new one begins; end.json carries its number."""
        for file in (self.status_file, self.request_file, self.process_file):
            file.unlink(missing_ok=True)

    def size_bytes(self) -> int:
        """What the folder takes on the disk by its files' lengths; files that vanish while counting count nothing."""
        total = 0
        for parent, _, names in os.walk(self.path):
            for name in names:
                try:
                    total += (Path(parent) / name).lstat().st_size
                except FileNotFoundError:
                    continue
        return total
