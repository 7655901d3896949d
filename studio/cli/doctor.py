"""`studio doctor`: look at what runs need on this machine, and say the exact fix for what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.config.quantization_support import WHILE_LOADING, Support
from studio.config.workspace import Workspace
from studio.runs.devices import has_gpu, inventory, machine_facts

LEAST_FREE_BYTES = 5 * 1024**3
_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes", "gradio", "tensorboard")

# Asked in a process of its own: importing torch here would make every other command slow too.
_TORCH = """
import json, torch
found = {"version": torch.__version__, "cuda_build": torch.version.cuda, "cuda": torch.cuda.is_available(),
         "processor": torch.backends.cpu.get_cpu_capability()}
try:
    import bitsandbytes
    found["bitsandbytes"] = bitsandbytes.__version__
except Exception as error:
    found["bitsandbytes_error"] = f"{type(error).__name__}: {error}"
print("FOUND" + json.dumps(found))
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report; `fix` is empty when all is well."""

    what: str
    found: str
    fix: str = ""


def doctor(options: argparse.Namespace) -> int:
    """Print the findings; the exit code is 1 when something must be fixed."""
    from studio.cli.main import workspace

    findings = list(examine(workspace(options), options.port))
    for one in findings:
        print(f"{'✕' if one.fix else '✓'} {one.what:<14} {one.found}")
        if one.fix:
            print(f"  fix: {one.fix}")
    return int(any(one.fix for one in findings))


def examine(place: Workspace, port: int) -> Iterator[Finding]:
    """Every finding about this machine and workspace."""
    version = platform.python_version()
    yield Finding("Python", version, "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer")
    machine = machine_facts()
    gigabytes = machine.memory_available / 1024**3
    yield Finding("machine", f"{machine.processor}, {machine.cores} cores, {gigabytes:.1f} GB free", _few(gigabytes))
    yield from _packages()
    yield from _torch()
    yield _quantizations()
    yield from _folders(place)
    yield _port(port)


def _few(gigabytes: float) -> str:
    return "" if gigabytes > 2 else "close other programs: less than 2 GB of memory is free"


def _packages() -> Iterator[Finding]:
    versions: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "not installed", f"pip install -c constraints.txt {name}")
    yield Finding("packages", ", ".join(f"{name} {version}" for name, version in versions.items()))


def _quantizations() -> Finding:
    """Which kinds of quantized weights runs can have here, and what the others need; none of them must be there."""
    lacking = {kind: _lacking(support) for kind, support in WHILE_LOADING.items()}
    ready = ", ".join(kind for kind, reason in lacking.items() if not reason)
    rest = "; ".join(f"{kind} needs {reason}" for kind, reason in lacking.items() if reason)
    return Finding("quantization", "; ".join(filter(None, (ready, rest))))


def _lacking(support: Support) -> str:
    if support.missing():
        return support.install
    return "an NVIDIA GPU" if support.needs_gpu and not has_gpu() else ""


def _torch() -> Iterator[Finding]:
    """The torch build against the driver: a CPU build on a machine with a GPU is the commonest mistake."""
    gpus = [device for device in inventory() if device.name != "cpu"]
    for device in gpus:
        yield Finding(device.name, f"{device.label}, {(device.free or 0) / 1024**3:.1f} GB free")
    run = subprocess.run([sys.executable, "-c", _TORCH], capture_output=True, text=True, check=False)
    line = next((line for line in run.stdout.splitlines() if line.startswith("FOUND")), None)
    if line is None:
        reason = run.stderr.strip().splitlines()[-1:] or [f"exit code {run.returncode}"]
        yield Finding("torch", reason[0], "pip install --force-reinstall -c constraints.txt torch")
        return
    found = json.loads(line.removeprefix("FOUND"))
    yield _torch_build(found, bool(gpus))
    if "bitsandbytes" in found:
        yield Finding("bitsandbytes", found["bitsandbytes"])
    else:
        error = found["bitsandbytes_error"]
        yield Finding("bitsandbytes", error, "pip install --force-reinstall -c constraints.txt bitsandbytes")


def _torch_build(found: dict[str, object], has_gpu: bool) -> Finding:
    build = f"CUDA {found['cuda_build']}" if found["cuda_build"] else "CPU build"
    text = f"{found['version']} ({build}; {'GPU ready' if found['cuda'] else found['processor']})"
    if has_gpu and not found["cuda_build"]:
        fix = (
            "torch was built for CPUs: pip install --force-reinstall -c constraints.txt torch, from an index with CUDA"
        )
        return Finding("torch", text, fix)
    if has_gpu and not found["cuda"]:
        return Finding("torch", text, f"the driver does not serve CUDA {found['cuda_build']}: update the NVIDIA driver")
    if not has_gpu and shutil.which("nvidia-smi"):
        return Finding(
            "torch", text, "nvidia-smi is there, but no GPU answers: is the driver loaded? (sudo modprobe nvidia)"
        )
    return Finding("torch", text)


def _folders(place: Workspace) -> Iterator[Finding]:
    free = shutil.disk_usage(place.root).free
    fix = (
        ""
        if free > LEAST_FREE_BYTES
        else f"free some space on the disk of {place.root}: a run needs room for checkpoints"
    )
    yield Finding("disk", f"{free / 1024**3:.1f} GB free at {place.root}", fix)
    registry = place.registry
    found = "dataset_info.json is there" if registry.exists() else "no dataset_info.json"
    fix = "" if registry.exists() else f"start Studio in a workspace, or make {registry} with your datasets"
    yield Finding("workspace", found, fix)
    yield _writable(place.saves)


def _writable(folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".doctor"
        probe.write_text("", encoding="utf-8")
        probe.unlink()
    except FileExistsError:
        return Finding("saves", f"{folder} is a file, not a folder", f"rename it: mv {folder} {folder}.old")
    except OSError as error:
        fix = f"make room or give yourself the right to write: sudo chown -R $USER {folder}"
        return Finding("saves", f"{folder}: {error.strerror}", fix)
    return Finding("saves", f"{folder} can be written")


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()  # a port can be bound twice, but not listened on
        except PermissionError:
            return Finding("port", f"{port} is not for everyone", "choose one from 1024 on: studio webui --port 7860")
        except OSError:
            fix = f"open http://127.0.0.1:{port} if that is Studio; otherwise: studio webui --port {port + 1}"
            return Finding("port", f"{port} is in use", fix)
    return Finding("port", f"{port} is free")
