"""The records in a run's folder as typed values; whatever is missing or of the wrong type reads as empty."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from studio.runs.states import State


class Fields:
    """Typed, tolerant access to what JSON gave: anything but an object has no fields."""

    def __init__(self, value: object) -> None:
        self._values = cast("dict[str, object]", value) if isinstance(value, dict) else {}

    def text(self, key: str) -> str:
        """The string at `key`, else an empty one."""
        value = self._values.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> float | None:
        """The number at `key`, else None; truth values are no numbers."""
        value = self._values.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def whole(self, key: str, default: int = 0) -> int:
        """The whole number at `key`, else `default`."""
        value = self._values.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def flag(self, key: str) -> bool:
        """Whether `key` holds true."""
        return self._values.get(key) is True

    def texts(self, key: str) -> tuple[str, ...]:
        """The list at `key`; what is no string in it appears as its JSON text."""
        value = self._values.get(key)
        entries = cast("list[object]", value) if isinstance(value, list) else []
        return tuple(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """The object at `key`, else an empty one."""
        value = self._values.get(key)
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


@dataclass(frozen=True)
class JobSpec:
    """job.json: what shall run. Written by whoever submits, resumes or starts; `id` is empty when unreadable."""

    id: str = ""
    name: str = ""
    kind: str = ""
    devices_wanted: str = "auto"
    devices: tuple[str, ...] = ()  # given at the start of the attempt
    worker: tuple[str, ...] = ()  # argument list; the run's folder is appended
    created: float = 0.0  # seconds since the epoch, as all times in these records
    held: bool = False
    resume_from: str | None = None  # name of a checkpoint's folder
    attempt: int = 1
    stop_grace_seconds: float | None = None  # None: the shim's own constants
    kill_grace_seconds: float | None = None

    @classmethod
    def read(cls, value: object) -> JobSpec:
        """From what JSON gave."""
        fields = Fields(value)
        return cls(
            id=fields.text("id"),
            name=fields.text("name"),
            kind=fields.text("kind"),
            devices_wanted=fields.text("devices_wanted") or "auto",
            devices=fields.texts("devices"),
            worker=fields.texts("worker"),
            created=fields.number("created") or 0.0,
            held=fields.flag("held"),
            resume_from=fields.text("resume_from") or None,
            attempt=max(1, fields.whole("attempt", 1)),
            stop_grace_seconds=fields.number("stop_grace_seconds"),
            kill_grace_seconds=fields.number("kill_grace_seconds"),
        )


@dataclass(frozen=True)
class Failure:
    """How the worker itself explains its failure. `kind` is a short word such as gpu_memory."""

    cause: str
    advice: str = ""
    kind: str = ""

    @classmethod
    def read(cls, value: object) -> Failure | None:
        """From what JSON gave; None without a cause."""
        fields = Fields(value)
        cause = fields.text("cause")
        return cls(cause, fields.text("advice"), fields.text("kind")) if cause else None


@dataclass(frozen=True)
class Status:
    """status.json: where the worker is. Only the worker writes it; `phase` is empty when there is none."""

    phase: str = ""
    step: int = 0
    total: int = 0
    eta_seconds: float | None = None
    message: str = ""
    updated: float = 0.0
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dtypes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notices: tuple[str, ...] = ()
    failure: Failure | None = None

    @classmethod
    def read(cls, value: object) -> Status:
        """From what JSON gave."""
        fields = Fields(value)
        return cls(
            phase=fields.text("phase"),
            step=fields.whole("step"),
            total=fields.whole("total"),
            eta_seconds=fields.number("eta_seconds"),
            message=fields.text("message"),
            updated=fields.number("updated") or 0.0,
            parameters=fields.mapping("parameters"),
            dtypes=fields.mapping("dtypes"),
            notices=fields.texts("notices"),
            failure=Failure.read(fields.mapping("failure")),
        )


@dataclass(frozen=True)
class Processes:
    """process.json: who runs the attempt. A pid counts only together with its process's creation time."""

    attempt: int = 0
    shim_pid: int = 0
    shim_created: float = 0.0
    worker_pid: int = 0
    worker_created: float = 0.0
    log_start: int = 0  # size of log.txt in bytes when the attempt began

    @classmethod
    def read(cls, value: object) -> Processes:
        """From what JSON gave."""
        fields = Fields(value)
        return cls(
            attempt=fields.whole("attempt"),
            shim_pid=fields.whole("shim_pid"),
            shim_created=fields.number("shim_created") or 0.0,
            worker_pid=fields.whole("worker_pid"),
            worker_created=fields.number("worker_created") or 0.0,
            log_start=fields.whole("log_start"),
        )


@dataclass(frozen=True)
class Request:
    """request.json: what the worker is asked to do: stop, save_now or kill. `serial` is 0 when nothing is asked."""

    serial: int = 0
    action: str = ""
    requeue: bool = False  # after the stop, go back to the end of the queue
    time: float = 0.0

    @classmethod
    def read(cls, value: object) -> Request:
        """From what JSON gave."""
        fields = Fields(value)
        return cls(
            serial=fields.whole("serial"),
            action=fields.text("action"),
            requeue=fields.flag("requeue"),
            time=fields.number("time") or 0.0,
        )


@dataclass(frozen=True)
class End:
    """end.json: how an attempt ended, as the shim saw it. `state` is None when there is none."""

    state: State | None = None
    attempt: int = 0
    exit_code: int | None = None
    signal: int | None = None
    cause: str = ""
    advice: str = ""
    kind: str = ""
    time: float = 0.0

    @classmethod
    def read(cls, value: object) -> End:
        """From what JSON gave."""
        fields = Fields(value)
        state = fields.text("state")
        code, signal = fields.number("exit_code"), fields.number("signal")
        return cls(
            state=State(state) if state in list(State) else None,
            attempt=fields.whole("attempt"),
            exit_code=None if code is None else int(code),
            signal=None if signal is None else int(signal),
            cause=fields.text("cause"),
            advice=fields.text("advice"),
            kind=fields.text("kind"),
            time=fields.number("time") or 0.0,
        )
