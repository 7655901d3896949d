"""The worker's contract without torch: `python fake_worker.py RUN_FOLDER`.

The config is `key: value` lines: steps, step_seconds, checkpoint_every, load_seconds, fail_at with fail_with (a
message), explain (the failure goes into the status), kill_at (SIGKILL to itself), ignore_stop, ignore_term, child
(a process that outlives it, with its "own session" or its "own environment").
"""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

from studio.runs.endings import EXIT_STOPPED
from studio.runs.folder import RunFolder
from studio.runs.metrics import append_row, open_rows
from studio.runs.records import Failure, Status


def write_checkpoint(path: Path, step: int) -> None:
    """A tiny checkpoint that is complete by the rules of studio.runs.checkpoints; trainer_state.json comes last."""
    path.mkdir(exist_ok=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + struct.pack("<2f", step, -step)
    (path / "adapter_model.safetensors").write_bytes(weights)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        with zipfile.ZipFile(path / name, "w") as archive:
            archive.writestr("archive/data.pkl", b"state of step %d" % step)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))


def loss_at(step: int) -> float:
    """What the loss of a step is, whoever computes it and whenever."""
    return 0.5 + 3.0 * math.exp(-step / 20) + 0.1 * math.sin(step)


def parse(text: str) -> dict[str, str]:
    """`key: value` lines; null means that there is none."""
    pairs = ((key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in text.splitlines()))
    return {key: value for key, value in pairs if key and value != "null"}


class FakeWorker:
    """One attempt."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.config = parse(folder.config_text())
        self.total = int(self.number("steps", self.number("max_steps", 5)))
        self.heard = 0
        self.status = Status(total=self.total, parameters={"trainable": 2, "total": 2}, dtypes={"float32": 2})

    def number(self, key: str, default: float) -> float:
        return float(self.config.get(key, os.environ.get(f"FAKE_{key.upper()}", default)))

    def phase(self, phase: str, step: int | None = None, message: str = "") -> None:
        step = self.status.step if step is None else step
        eta = (self.total - step) * self.number("step_seconds", 0.01)
        self.status = replace(self.status, phase=phase, step=step, message=message, eta_seconds=eta)
        self.status = replace(self.status, updated=time.time())
        self.folder.write_status(self.status)

    def save(self, step: int) -> None:
        self.phase("saving", step)
        write_checkpoint(self.folder.checkpoint(step), step)
        self.phase("training", step)

    def run(self) -> int:
        if "ignore_term" in self.config:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if "child" in self.config:
            own_session = self.config["child"] == "own session"  # as torchrun's ranks have
            argv = [sys.executable, "-c", "import time; time.sleep(60)"]
            child = subprocess.Popen(argv, start_new_session=own_session, env=None if own_session else {})
            (self.folder.path / "child.pid").write_text(str(child.pid))
        self.phase("loading model")
        time.sleep(self.number("load_seconds", 0))
        self.phase("tokenizing", message="tokenizing 10/10")
        resume_from = self.folder.job().resume_from
        first = int(resume_from.rpartition("-")[2]) if resume_from else 0
        if resume_from:
            state = json.loads((self.folder.path / resume_from / "trainer_state.json").read_text())
            assert state["global_step"] == first
            sys.stdout.write(f"resuming from {resume_from}\n")
        with open_rows(self.folder.metrics_file) as rows:
            if self.folder.job().attempt > 1:
                append_row(rows, {"event": "resumed", "step": first})
            for step in range(first + 1, self.total + 1):
                self.phase("training", step)
                time.sleep(self.number("step_seconds", 0.01))
                self.fail_if_due(step)
                append_row(rows, {"step": step, "loss": loss_at(step), "learning_rate": 1e-4})
                if self.after(step):
                    return EXIT_STOPPED
        self.save(self.total)
        self.phase("finished")
        return 0

    def after(self, step: int) -> bool:
        """What is due after a step; True when the run shall stop."""
        request = self.folder.request()
        asked = request.action if request.serial > self.heard else ""
        self.heard = request.serial
        if asked == "stop" and "ignore_stop" not in self.config:
            self.save(step)
            self.phase("stopped")
            return True
        if asked == "save_now" or step % self.number("checkpoint_every", 1_000_000) == 0:
            self.save(step)
        return False

    def fail_if_due(self, step: int) -> None:
        if step == self.number("kill_at", -1):
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self.number("fail_at", -1):
            text = self.config.get("fail_with", "bad row 7 of data/x.json")
            if "explain" in self.config:
                self.status = replace(self.status, failure=Failure(text, "Mend the row.", "data"))
                self.phase("failed")
            raise RuntimeError(text)


if __name__ == "__main__":
    sys.exit(FakeWorker(RunFolder(sys.argv[1])).run())
