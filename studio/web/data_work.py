"""A `studio data …` command at work beside the board: started, watched by the files it leaves, and stopped."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from studio.config.workspace import Workspace
from studio.runs.atomic import read_json, tail, write_json
from studio.runs.processes import created, is_same, signal_group

PATIENCE_SECONDS = 3.0
OUTPUT_BYTES = 8000

# Those that this server started, so that their exit codes are known; others are known by what they left.
_started: dict[Path, subprocess.Popen[bytes]] = {}


def start(workspace: Workspace, folder: Path, words: Sequence[str]) -> None:
    """Run `studio data <words>` in a process of its own, its output in `folder`; nothing while one is at work there."""
    for ended in _started.values():
        ended.poll()  # so that none of them stays behind as a zombie
    if at_work(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    allowed = [word for path in workspace.allowed for word in ("--allow", str(path))]
    line = [sys.executable, "-m", "studio", "data", *words, "--workspace", str(workspace.root), *allowed]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=workspace.root,
            env={**os.environ, "PYTHONPATH": _path()},
        )  # fmt: skip
    _started[folder] = process
    known = {"pid": process.pid, "created": created(process.pid), "since": time.time(), "words": list(words)}
    write_json(folder / "process.json", known, durable=False)


def at_work(folder: Path) -> bool:
    """Whether the command of this folder is running."""
    known = _known(folder)
    process = _started.get(folder)
    if process is not None and process.pid == known.get("pid"):
        return process.poll() is None
    return is_same(int(known.get("pid", 0)), float(known.get("created", 0.0)))


def state(folder: Path) -> dict[str, Any]:
    """Whether it is at work and for how long (seconds), its exit code where that is known, and its output's end."""
    known, running, process = _known(folder), at_work(folder), _started.get(folder)
    return {
        "working": running,
        "seconds": max(0.0, time.time() - float(known.get("since", time.time()))),
        "code": None if running or process is None else process.poll(),
        "output": tail(folder / "output.txt", OUTPUT_BYTES).strip(),
    }


def stop(folder: Path) -> None:
    """Interrupt the command, so that it clears up behind itself; end it when it does not listen."""
    pid = int(_known(folder).get("pid", 0))
    for number in (signal.SIGINT, signal.SIGKILL):
        if not at_work(folder):
            return
        signal_group(pid, number)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while at_work(folder) and time.monotonic() < deadline:
            time.sleep(0.05)


def shown_command(words: Sequence[str]) -> str:
    """The command as one would type it in the workspace."""
    return shlex.join(["studio", "data", *words])


def _known(folder: Path) -> dict[str, Any]:
    value = read_json(folder / "process.json")
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _path() -> str:
    """Where this very studio lies, so that the command is of the same version, before whatever was set."""
    own = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH", ""))))
