"""Servers of other libraries, run by the interpreter of their engine: vLLM and llama.cpp."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from studio.config.method import ROUTED_SIDECAR
from studio.config.serve import LlamaCpp, ServeConfig, Vllm
from studio.config.workspace import Workspace
from studio.runs.engines import ENGINES, interpreter
from studio.runs.export_subject import ADAPTER_CONFIG, adapter_config, held_bits
from studio.tasks.failures import TaskError
from studio.tasks.serving.names import served_name

LOOK_SECONDS = 0.5
END_SECONDS = 10.0


def command(config: ServeConfig, workspace: Workspace, port: int) -> list[str]:
    """The argument list of the engine's own server, its interpreter first; the key comes by the environment.

    Raises EngineError when the engine is not installed, TaskError for an adapter or a model that it does not know.
    """
    engine, chosen = config.engine, config.serving
    python = str(interpreter(workspace, engine.type))
    path, name = str((workspace.root / config.model.path).resolve()), served_name(config.model.path)
    if (Path(path) / ROUTED_SIDECAR).is_file():
        raise TaskError(
            "model",
            f"{config.model.path} is a Mixture-of-Depths model, which {engine.type} does not know.",
            "Set engine.type=transformers.",
        )
    if isinstance(engine, Vllm):
        model = path if Path(path).is_dir() else config.model.path
        words = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", name]
        words += ["--host", chosen.host, "--port", str(port), "--gpu-memory-utilization", str(engine.gpu_memory_share)]
        words += ["--max-num-seqs", str(chosen.places), "--dtype", config.model.dtype]
        words += ["--trust-remote-code"] if config.model.trust_remote_code else []
        words += ["--max-model-len", str(chosen.context_len)] if chosen.context_len else []
        adapters = [f"{served_name(folder)}={_plain_lora(workspace.root / folder)}" for folder in chosen.adapters]
        return [*words, *(["--enable-lora", "--lora-modules", *adapters] if adapters else [])]
    assert isinstance(engine, LlamaCpp)
    words = [python, "-m", "llama_cpp.server", "--model", path, "--model_alias", name, "--host", chosen.host]
    words += ["--port", str(port), "--n_gpu_layers", str(engine.gpu_layers), "--n_ctx", str(chosen.context_len or 0)]
    return [*words, *(["--n_threads", str(config.devices.cpu_threads)] if config.devices.cpu_threads else [])]


def _plain_lora(folder: Path) -> Path:
    """The folder itself. vLLM knows LoRA alone, and would take BitLoRA's full-precision matrices for the adapter."""
    if (folder / ADAPTER_CONFIG).is_file() and held_bits(adapter_config(folder)):
        raise TaskError(
            "adapter",
            f"The adapter in {folder} is a BitLoRA adapter, which vLLM does not know.",
            "Export it with format.type=adapter, which makes a plain LoRA of it, and serve that; or set "
            "engine.type=transformers.",
        )
    return folder


@contextmanager
def running(words: list[str], engine: str, key: str) -> Iterator[subprocess.Popen[bytes]]:
    """The server as a child in our process group; ended when the block is left, however that happens."""
    variables = {"VLLM_API_KEY": key, "API_KEY": key, "VLLM_NO_USAGE_STATS": "1", **ENGINES[engine].variables}
    child = subprocess.Popen(words, env={**os.environ, **variables}, stdin=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_until_it_answers(
    child: subprocess.Popen[bytes], address: str, key: str, stopped: Callable[[], bool]
) -> tuple[str, ...]:
    """The names of the models once the server answers; empty when it was asked to stop. Raises TaskError."""
    while not stopped():
        if child.poll() is not None:
            raise TaskError(
                "engine",
                f"The server of the engine ended with exit code {child.returncode} while it was loading.",
                "Its own words stand in the log. Often the model does not fit into memory, or is of a kind that the "
                "engine does not know.",
            )
        try:
            reply = httpx.get(f"{address}/v1/models", headers={"Authorization": f"Bearer {key}"}, trust_env=False)
            if reply.status_code == httpx.codes.OK:
                return tuple(str(model["id"]) for model in reply.json()["data"])
        except httpx.TransportError:  # it does not listen yet
            pass
        time.sleep(LOOK_SECONDS)
    return ()
