"""From an exception to the cause in plain words and the way out: what a person reads when a run has failed."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable

from studio.config.faults import ConfigError
from studio.config.workspace import OutsideWorkspace
from studio.data.examples import DataError
from studio.runs.records import Failure


class TaskError(RuntimeError):
    """A job cannot go on, and the worker knows why. `kind` is a short word for programs, the rest for people."""

    def __init__(self, kind: str, cause: str, advice: str = "") -> None:
        super().__init__(f"{cause} {advice}".strip())
        self.failure = Failure(cause=cause, advice=advice, kind=kind)


class StopRequested(BaseException):
    """Stop was asked for before training began. Not an Exception, so that no library swallows it."""


# How torch and safetensors put the system's error: torch finds its archive at another length than it wrote.
DISK_MARKS = (
    "No space left on device",
    "os error 28",
    "Disk quota exceeded",
    "PytorchStreamWriter failed writing",
    "inline_container.cc",
)

Explain = Callable[[BaseException, str], Failure | None]


def explain(error: BaseException) -> Failure:
    """The failure behind `error`, looked for along its chain of causes; an unknown one is named as it is."""
    for link in _chain(error):
        for rule in _RULES:
            failure = rule(link, str(link))
            if failure is not None:
                return failure
    text = " ".join(str(error).split()) or "no further explanation"
    return Failure(
        f"{type(error).__name__}: {text[:600]}",
        "The full traceback is in the log. If the cause is not clear from it, report it with the config.",
        "unexpected",
    )


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return links


def _known(error: BaseException, text: str) -> Failure | None:
    if isinstance(error, TaskError):
        return error.failure
    if isinstance(error, DataError):
        return Failure(text, "", "data")
    if isinstance(error, OutsideWorkspace):
        return Failure(text, "", "config")
    if isinstance(error, ConfigError):
        return Failure(f"The config is refused: {text}", "Correct these settings.", "config")
    return None


def _gpu_memory(error: BaseException, text: str) -> Failure | None:
    if type(error).__name__ == "OutOfMemoryError" or "CUDA out of memory" in text:
        return Failure(
            "The GPU ran out of memory.",
            "Lower optimisation.per_device_train_batch_size (and raise gradient_accumulation_steps by as much), lower "
            "data.cutoff_len, set optimisation.gradient_checkpointing=on, or load the model in 4 bits "
            "(quantization.type=4bit).",
            "gpu_memory",
        )
    return None


def _main_memory(error: BaseException, text: str) -> Failure | None:
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in text or "can't allocate memory" in text:
        return Failure(
            "The main memory ran out.",
            "Close other programs, lower optimisation.per_device_train_batch_size or data.cutoff_len, or choose a "
            "smaller model.",
            "main_memory",
        )
    return None


def _disk(error: BaseException, text: str) -> Failure | None:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or any(mark in text for mark in DISK_MARKS):
        return Failure(
            "The disk is full.",
            "Free some space or remove old runs and checkpoints, then resume from the last complete checkpoint. "
            "cadence.save_total_limit keeps fewer of them.",
            "disk_full",
        )
    return None


def _network(error: BaseException, text: str) -> Failure | None:
    names = ("ConnectError", "ConnectionError", "ConnectTimeout", "OfflineModeIsEnabled", "LocalEntryNotFoundError")
    lost = type(error).__name__ in names or "couldn't connect to" in text.lower() or "Max retries exceeded" in text
    if lost:
        return Failure(
            "The model hub cannot be reached.",
            "Check the network, name a mirror by HF_ENDPOINT or MODELSCOPE_DOMAIN in the environment, or set "
            "model.path to a folder on this machine.",
            "network",
        )
    return None


def _hub(error: BaseException, text: str) -> Failure | None:
    name = type(error).__name__
    if (
        name in ("GatedRepoError", "RepositoryNotFoundError", "RevisionNotFoundError")
        or "is not a valid model id" in text
    ):
        return Failure(
            f"The hub does not give this model: {' '.join(text.split())[:300]}",
            "Check model.path and model.revision. A gated or private model needs your token in HF_TOKEN.",
            "model",
        )
    return None


def _code(error: BaseException, text: str) -> Failure | None:
    if "trust_remote_code" in text:
        return Failure(
            "The model brings Python code of its own, which is not run without your consent.",
            "If you trust its authors with this machine, set model.trust_remote_code=true and pin model.revision.",
            "model",
        )
    return None


def _weights(error: BaseException, text: str) -> Failure | None:
    if type(error).__name__ == "SafetensorError":
        return Failure(f"A weight file is damaged: {text}", "Download or copy the model again.", "model")
    if "size mismatch for" in text:
        return Failure(
            f"Saved weights do not fit the model: {' '.join(text.split())[:300]}",
            "The model or the method was changed since they were saved. Change it back, or start fresh.",
            "checkpoint",
        )
    if "does not appear to have a file named" in text or "no file named" in text:
        return Failure(
            f"The model is not complete: {' '.join(text.split())[:300]}",
            "Only models with safetensors weights and a config.json can be loaded.",
            "model",
        )
    return None


def _package(error: BaseException, text: str) -> Failure | None:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return Failure(
            f"The Python package {error.name} is missing.",
            f"Install it into Studio's environment: pip install {error.name.partition('.')[0]}",
            "package",
        )
    if isinstance(error, ImportError):
        advice = "Install it into Studio's environment, or do without: see the setting that the message names."
        if "lash" in text:
            advice = "Install flash-attn, or set model.attention=auto."
        return Failure(f"A package is missing or too old: {' '.join(text.split())[:400]}", advice, "package")
    return None


def _argument(error: BaseException, text: str) -> Failure | None:
    found = re.search(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", text)
    if isinstance(error, TypeError) and found:
        return Failure(
            f"{found.group(1)} has no argument {found.group(2)!r}.",
            "Correct it in optimisation.optimizer_arguments, optimisation.lr_scheduler_kwargs or trainer.",
            "trainer",
        )
    if "is not a valid OptimizerNames" in text:
        return Failure(
            f"There is no such optimizer: {text.split(',')[0]}.", "Correct optimisation.optimizer.", "trainer"
        )
    return None


_RULES: tuple[Explain, ...] = (
    _known,
    _gpu_memory,
    _main_memory,
    _disk,
    _hub,
    _network,
    _code,
    _weights,
    _package,
    _argument,
)
