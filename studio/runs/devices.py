"""The devices of this machine, which of them a job gets, and the facts for the page's header."""

# pynvml is not typed:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil
import pynvml  # pyright: ignore[reportMissingTypeStubs]

from studio.config.devices import NO_DEVICE
from studio.runs.atomic import read_text
from studio.runs.cgroup import memory_limit, memory_used
from studio.runs.errors import BadDevices

CPU = "cpu"
T = TypeVar("T")


@dataclass(frozen=True)
class Device:
    """One device. Bytes of memory; degrees Celsius; utilisation 0..100. None where the machine does not say."""

    name: str  # cpu, cuda:0 (numbered as nvidia-smi does)
    label: str
    total: int | None = None
    free: int | None = None
    temperature: int | None = None
    utilisation: float | None = None


@dataclass(frozen=True)
class MachineFacts:
    """What the header shows of the machine. Bytes; load 0..100."""

    processor: str
    cores: int  # those that this process may use
    load: float
    memory_total: int
    memory_available: int


def inventory(env: Mapping[str, str] | None = None) -> list[Device]:
    """The GPUs that NVML knows and CUDA_VISIBLE_DEVICES of `env` (the process's own) allows, then the CPU."""
    facts = machine_facts()
    label = f"{facts.processor} · {facts.cores} cores"
    cpu = Device(CPU, label, facts.memory_total, facts.memory_available, None, facts.load)
    return [*_gpus((os.environ if env is None else env).get("CUDA_VISIBLE_DEVICES")), cpu]


def has_gpu() -> bool:
    """Whether there is a GPU that a run could get."""
    return any(device.name != CPU for device in inventory())


def machine_facts() -> MachineFacts:
    """Cores, load and main memory; a container's own limit counts where it is smaller than the machine."""
    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    limit, used = memory_limit(), memory_used()
    if limit is not None and limit < total:
        total, available = limit, min(available, max(0, limit - (used or 0)))
    return MachineFacts(_processor(), _cores(), psutil.cpu_percent(), total, available)


def wanted_names(wanted: str) -> tuple[str, ...]:
    """The devices that `wanted` names; empty for auto. Raises BadDevices for anything but auto, cpu, cuda:0,cuda:1."""
    if wanted in ("auto", NO_DEVICE):
        return ()
    names = tuple(wanted.split(","))
    if names != (CPU,) and not all(re.fullmatch(r"cuda:\d+", name) for name in names):
        raise BadDevices(f"Devices {wanted!r} are not understood. Write auto, cpu, cuda:0, or more as cuda:0,cuda:1.")
    if len(set(names)) < len(names):
        raise BadDevices(f"Devices {wanted!r} name one device twice. Name each once.")
    return names


def check_wanted(wanted: str, present: Sequence[str]) -> None:
    """Raise BadDevices when a job asking for `wanted` could never start on a machine with the devices `present`."""
    missing = [name for name in wanted_names(wanted) if name not in present]
    if missing:
        has = ", ".join(present)
        raise BadDevices(f"This machine has no {', '.join(missing)}; it has {has}. Choose among these, or auto.")


def choose(wanted: str, present: Sequence[str], busy: Collection[str]) -> tuple[str, ...]:
    """The devices for a job, or none while it has to wait. auto: the first free GPU; the CPU where there is no GPU.

    A job that asks for NO_DEVICE never waits: it gets that word, which is leased to nobody.
    """
    if wanted == NO_DEVICE:
        return (NO_DEVICE,)
    names = wanted_names(wanted)
    if names:
        return names if all(name in present and name not in busy for name in names) else ()
    gpus = [name for name in present if name != CPU]
    return next(((name,) for name in gpus or [CPU] if name not in busy), ())


def _gpus(visible: str | None) -> list[Device]:
    """What NVML tells; nothing when there is no NVIDIA driver, which is normal."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_gpu(index) for index in range(_ask(pynvml.nvmlDeviceGetCount) or 0) if _allowed(index, visible)]
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Device:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = _ask(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    utilisation = _ask(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
    return Device(
        name=f"cuda:{index}",
        label=str(_ask(lambda: pynvml.nvmlDeviceGetName(handle)) or "NVIDIA GPU"),
        total=None if memory is None else int(memory.total),
        free=None if memory is None else int(memory.free),
        temperature=_ask(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
        utilisation=None if utilisation is None else float(utilisation.gpu),
    )


def _allowed(index: int, visible: str | None) -> bool:
    """Whether CUDA_VISIBLE_DEVICES, a list of numbers or beginnings of UUIDs, lets us use the GPU."""
    if visible is None:
        return True
    entries = [entry.strip() for entry in visible.split(",") if entry.strip()]
    uuid = str(_ask(lambda: pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index))) or "")
    return any(entry == str(index) or (entry.startswith("GPU-") and uuid.startswith(entry)) for entry in entries)


def _ask(question: Callable[[], T]) -> T | None:
    """One answer of NVML; None for what this GPU does not tell."""
    try:
        return question()
    except pynvml.NVMLError:
        return None


def _cores() -> int:
    """Cores that this process may use; macOS does not tell and gives all."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _processor() -> str:
    """The processor's name as the system gives it."""
    found = re.search(r"^model name\s*:\s*(.+)$", read_text(Path("/proc/cpuinfo")), re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine() or "CPU"
