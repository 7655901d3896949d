"""Engines: libraries that cannot share Studio's environment, each in one of its own under engines/NAME.

What is installed is pinned: the list of an engine is known to work together, and an environment that was made from
another list counts as outdated.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.config.workspace import Workspace
from studio.runs.atomic import read_json, write_json
from studio.runs.errors import RunError
from studio.runs.records import Fields

MARK = "studio-engine.json"

Say = Callable[[str], None]


class EngineError(RunError):
    """An engine is unknown, missing or cannot be installed; the text says what to do."""


@dataclass(frozen=True)
class Engine:
    """One engine: `first` is installed before the rest, `pins` are exact versions, `variables` its processes need."""

    name: str
    purpose: str
    pins: tuple[str, ...]
    first: tuple[str, ...] = ()
    minutes: str = ""
    variables: Mapping[str, str] = field(default_factory=dict[str, str])


_GPTQ = """
accelerate==1.15.0 annotated-doc==0.0.7 annotated-types==0.8.0 anyio==4.16.0 certifi==2026.10.18
charset-normalizer==3.5.2 click==8.5.1 datasets==5.2.0 defuser==0.0.28 device-smi==0.5.7 dill==0.4.1 filelock==4.2.11
fsspec==2026.9.0 gptqmodel==7.6.0 h11==0.16.0 hf-xet==1.8.0 httpcore2==2.16.2 httpx2==2.16.2 huggingface_hub==2.4.0
idna==3.20 jinja2==3.1.6 logbar==0.4.15 markdown-it-py==4.3.0 markupsafe==3.0.4 maturin==1.16.0 mdurl==0.1.2
mpmath==1.3.0 multiprocess==0.70.19 networkx==3.6.1 ninja==1.13.2 numpy==2.2.6 packaging==26.3 pandas==3.1.1
pillow==13.0.0 protobuf==7.36.2 psutil==7.2.2 pyarrow==26.0.1 pydantic==2.14.3 pydantic_core==2.50.4 pygments==2.21.0
pypcre==0.6.4 python-dateutil==4.0.0 pyyaml==6.0.3 regex==2026.11.15 requests==2.34.2 rich==15.0.0 safetensors==0.8.0
shellingham==1.5.4 sympy==1.14.0 threadpoolctl==3.8.0 tokenicer==0.0.14 tokenizers==0.23.3 torchao==0.18.0
tqdm==4.70.1 transformers==5.23.0 truststore==0.10.5 typer==0.29.2 typing-inspection==0.4.5 typing_extensions==4.16.0
tzdata==2026.6 urllib3==2.8.0 xxhash==4.1.0
"""

_LLAMA_CPP = """
llama-cpp-python==0.3.36 diskcache==5.6.3 jinja2==3.1.6 markupsafe==3.0.4 numpy==2.4.6 typing_extensions==4.16.0
annotated-doc==0.0.7 annotated-types==0.8.0 anyio==4.16.0 click==8.5.1 fastapi==0.165.0 h11==0.16.0 idna==3.20
opentelemetry-api==1.45.2 pydantic==2.14.3 pydantic-settings==2.16.3 pydantic_core==2.50.4 python-dotenv==1.2.4
pyyaml==6.0.3 sse-starlette==3.7.0 starlette==1.10.0 starlette-context==0.3.6 typing-inspection==0.4.5 uvicorn==0.54.0
"""

ENGINES: Mapping[str, Engine] = {
    "gptq": Engine(
        "gptq",
        "GPTQ quantization (gptqmodel)",
        tuple(_GPTQ.split()),
        first=("torch==2.13.0", "setuptools", "wheel"),
        minutes="2 to 10 minutes, 1.6 GB",
    ),
    "llama-cpp": Engine(
        "llama-cpp",
        "llama.cpp: K-quants of GGUF, GGUF verified by its own runtime and served (llama-cpp-python)",
        tuple(_LLAMA_CPP.split()),
        minutes="5 to 15 minutes of compiling, needs a C++ compiler, 0.2 GB",
    ),
    # Its own dependencies are pinned by itself, torch and CUDA libraries among them.
    "vllm": Engine(
        "vllm",
        "vLLM: serving whole models on a GPU, many requests at once",
        ("vllm==0.33.0",),
        minutes="5 to 15 minutes, needs a GPU, about 10 GB",
    ),
}


@dataclass(frozen=True)
class EngineState:
    """Whether an engine can be used: `state` is installed, outdated, incomplete or missing."""

    engine: Engine
    state: str

    @property
    def ready(self) -> bool:
        """Whether jobs may use it; an outdated one still works."""
        return self.state in ("installed", "outdated")


def find(name: str) -> Engine:
    """The engine of that name. Raises EngineError."""
    if name not in ENGINES:
        raise EngineError(f"There is no engine {name!r}. There are: {', '.join(ENGINES)}.")
    return ENGINES[name]


def look(workspace: Workspace, name: str) -> EngineState:
    """Whether the engine is installed here. Raises EngineError for an unknown name."""
    engine, folder = find(name), workspace.engines / name
    if not folder.exists():
        return EngineState(engine, "missing")
    pins = Fields(read_json(folder / MARK)).texts("pins")
    if not pins or not _python(folder).exists():
        return EngineState(engine, "incomplete")
    return EngineState(engine, "installed" if pins == _all(engine) else "outdated")


def size(workspace: Workspace, name: str) -> int:
    """Bytes of the engine's files, 0 without any; takes seconds, as there are tens of thousands. Raises EngineError."""
    files = (workspace.engines / find(name).name).rglob("*")
    return sum(file.lstat().st_size for file in files if file.is_file() and not file.is_symlink())


def interpreter(workspace: Workspace, name: str) -> Path:
    """The Python of an engine. Raises EngineError, with the command that installs it, when it is not there."""
    if not look(workspace, name).ready:
        raise EngineError(
            f"This needs the engine {name}, which is not installed: {find(name).purpose}. Install it with "
            f"`studio engines install {name}` ({find(name).minutes})."
        )
    return _python(workspace.engines / name)


def install(workspace: Workspace, name: str, say: Say) -> None:
    """Make the engine's environment, or make it anew; `say` gets each line of pip. Raises EngineError, OSError.

    The mark that it is complete is written last, so an installation that was interrupted is not taken for one.
    """
    engine, folder = find(name), workspace.engines / name
    if look(workspace, name).state == "installed":
        say(f"{name} is installed already: {folder}")
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    say(f"making {folder} ({engine.minutes})")
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], say, name)
    pip = [sys.executable, "-m", "pip", "--python", str(_python(folder)), "--disable-pip-version-check"]
    pip += ["install", "--progress-bar", "off"]
    if engine.first:
        _run([*pip, *engine.first], say, name)
    _run([*pip, *engine.pins], say, name)
    write_json(folder / MARK, {"pins": list(_all(engine)), "seconds": round(time.monotonic() - begun)})
    say(f"{name} is installed: {folder}")


def remove(workspace: Workspace, name: str) -> bool:
    """Delete the engine's environment; False when there was none. Raises EngineError, OSError."""
    folder = workspace.engines / find(name).name
    if not folder.exists():
        return False
    (folder / MARK).unlink(missing_ok=True)
    shutil.rmtree(folder)
    return True


def _run(command: Sequence[str], say: Say, name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        last = ""
        try:
            for line in process.stdout:
                last = line.strip() or last
                say(line.rstrip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise EngineError(f"The engine {name} could not be installed: {last} Correct that and run the same again.")


def _all(engine: Engine) -> tuple[str, ...]:
    return (*engine.first, *engine.pins)


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"
