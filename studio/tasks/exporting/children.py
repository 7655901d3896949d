"""A part of the job in a process of its own: it reads a request, writes a result, and dies with the job."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.runs.atomic import read_json, write_json
from studio.tasks.failures import TaskError, explain

SECONDS_TO_END = 10

logger = logging.getLogger(__name__)


def call_part(module: str, request: Mapping[str, Any], folder: Path, *, online: bool = False) -> dict[str, Any]:
    """Run `python -m module REQUEST RESULT` and return what it has written. Raises TaskError with its explanation."""
    environment = {"HF_HUB_OFFLINE": "0" if online else "1"}
    return call([sys.executable, "-m", module], request, folder, environment)


def call(
    command: Sequence[str],
    request: Mapping[str, Any],
    folder: Path,
    environment: Mapping[str, str],
    place: Path | None = None,
) -> dict[str, Any]:
    """Run a command with the two files behind it; `folder` holds them. What it prints goes into the job's log.

    It runs in the folder `place`, for libraries that leave files where they run; None for that of this process.

    Raises TaskError: with the part's own explanation, or with how it ended. When this process is asked to stop while
    it waits, the part is ended first.
    """
    asked, answered = folder / "request.json", folder / "result.json"
    write_json(asked, dict(request), durable=False)
    answered.unlink(missing_ok=True)
    words = [*command, str(asked), str(answered)]
    process = subprocess.Popen(
        words, env={**os.environ, **environment}, cwd=place, stdin=subprocess.DEVNULL, stdout=sys.stderr
    )
    try:
        code = process.wait()
    finally:
        _end(process)
    result = read_json(answered)
    if isinstance(result, dict) and "failure" in result:
        raise TaskError(*(str(result["failure"][key]) for key in ("kind", "cause", "advice")))
    if code != 0 or not isinstance(result, dict):
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        advice = "Most often main memory ran out. " if code == -9 else ""
        raise TaskError(
            "part", f"The part {Path(command[-1]).name} of the export {how}.", f"{advice}The log says more."
        )
    return result


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main(part: Any) -> int:
    """The other side: read the request, call `part(request)`, write its result or why it failed. The exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    request, answer = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])
    try:
        result = part(request)
    except Exception as error:
        logger.exception("this part of the export failed")
        failure = explain(error)
        write_json(answer, {"failure": {"kind": failure.kind, "cause": failure.cause, "advice": failure.advice}})
        return 1
    write_json(answer, result)
    return 0
