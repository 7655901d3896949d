"""What each kind of quantized weights needs: packages, a GPU, a checkpoint that is quantized. Looks, imports nothing.

One table for the weights that are quantized while loading, one for checkpoints that are quantized already. The form,
`studio check`, `studio train` and `studio doctor` read them before a start; the worker reads them once more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

from studio.config.faults import Fault
from studio.config.jobs import JobConfig
from studio.config.workspace import OutsideWorkspace, Workspace

CONSTRAINED = "pip install -c constraints.txt"


@dataclass(frozen=True)
class Support:
    """What one kind needs.

    `packages` are the names that are imported, `install` is how a person gets them. `training` says what an adapter is
    trained beside: the weights as they lie, weights that are unpacked while loading (full size again), or nothing.
    """

    title: str
    packages: tuple[str, ...] = ()
    install: str = ""
    needs_gpu: bool = False
    training: Literal["packed", "unpacked", "none"] = "packed"

    def missing(self) -> tuple[str, ...]:
        """The packages that are not installed here."""
        return tuple(name for name in self.packages if find_spec(name) is None)


WHILE_LOADING: Mapping[str, Support] = {
    "4bit": Support("bitsandbytes 4-bit", ("bitsandbytes",), f"{CONSTRAINED} bitsandbytes"),
    "8bit": Support("bitsandbytes 8-bit", ("bitsandbytes",), f"{CONSTRAINED} bitsandbytes"),
    "hqq": Support("HQQ", ("hqq",), f"{CONSTRAINED} hqq"),
    "torchao": Support("torchao int8", ("torchao",), f"{CONSTRAINED} torchao"),
    "eetq": Support("EETQ int8", ("kernels",), "pip install kernels, which fetches the kernels from the hub", True),
}
"""By quantization.type."""

# gptqmodel pins versions of shared packages that Studio's own cannot live with, and does not build beside them.
_APART = "which does not install beside Studio's other packages; the full-precision model with 4bit trains as small"

CHECKPOINTS: Mapping[str, Support] = {
    "bitsandbytes": Support("bitsandbytes", ("bitsandbytes",), f"{CONSTRAINED} bitsandbytes"),
    "torchao": Support("torchao", ("torchao",), f"{CONSTRAINED} torchao"),
    "gptq": Support("GPTQ", ("optimum", "gptqmodel"), f"pip install optimum gptqmodel, {_APART}"),
    "awq": Support("AWQ", ("gptqmodel",), f"pip install gptqmodel, {_APART}"),
    "aqlm": Support("AQLM", ("aqlm",), "pip install aqlm[gpu]", needs_gpu=True),
    "eetq": Support("EETQ", ("kernels",), "pip install kernels", needs_gpu=True),
    "fp8": Support("FP8", training="unpacked"),
    "mxfp4": Support("MXFP4", training="unpacked"),
    "compressed-tensors": Support(
        "compressed-tensors", ("compressed_tensors",), "pip install compressed-tensors", training="unpacked"
    ),
}
"""By quant_method in the quantization_config of config.json."""


def method_of(config: Mapping[str, Any]) -> str | None:
    """How the weights beside a config.json are quantized: gptq, awq, fp8 …; None for plain weights."""
    found = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(found, Mapping):
        return None
    entry = cast("Mapping[str, Any]", found)
    if entry.get("load_in_4bit") or entry.get("load_in_8bit"):
        return "bitsandbytes"
    return str(entry.get("quant_method") or "compressed-tensors")


def folder_method(folder: Path) -> str | None:
    """The same for a model's folder; None also where there is no readable config.json."""
    try:
        value: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return method_of(cast("Mapping[str, Any]", value)) if isinstance(value, dict) else None


def kind_faults(kind: str, method: str | None, model: str, trains: bool, has_gpu: bool) -> Iterator[Fault]:
    """Why quantization.type=`kind` cannot load the weights of `model`, which are quantized by `method` already.

    Weights that only answer may be loaded as they lie with type none; training has to know that they are quantized.
    """
    path = "quantization.type"
    if method is None and kind == "checkpoint":
        yield Fault(path, "checkpoint_not_quantized", model)
        return
    if method is not None and kind != "checkpoint" and (trains or kind != "none"):
        yield Fault(path, "checkpoint_quantized", model, {"method": method})
        return
    support = WHILE_LOADING.get(kind) if method is None else CHECKPOINTS.get(method)
    if support is None:
        if method is not None and trains:
            yield Fault(path, "checkpoint_unknown", model, {"method": method, "known": ", ".join(CHECKPOINTS)})
        return
    details = {"kind": support.title, "install": support.install}
    if missing := support.missing():
        yield Fault(path, "quantization_package", details={**details, "packages": ", ".join(missing)})
    if support.needs_gpu and not has_gpu:
        yield Fault(path, "quantization_gpu", details=details)


def quantization_faults(workspace: Workspace, config: JobConfig, has_gpu: Callable[[], bool]) -> list[Fault]:
    """What stands in the way of the quantization that a config of any kind asks for, on this machine.

    A model that is not in the workspace yet is held against the table when the worker has its config.json.
    """
    chosen, model, devices = (getattr(config, name, None) for name in ("quantization", "model", "devices"))
    if chosen is None or model is None:
        return []
    path = str(model.path)
    try:
        folder = workspace.resolve(path)
    except OutsideWorkspace:
        return []  # said at the model
    there = (folder / "config.json").is_file()
    if not there and chosen.type == "checkpoint":
        return []
    gpu = getattr(devices, "use", "auto") != "cpu" and has_gpu()
    return list(kind_faults(chosen.type, folder_method(folder), path, hasattr(config, "method"), gpu))
