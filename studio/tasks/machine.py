"""What the process may compute on: the device, and whether it has bfloat16."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from studio.config.devices import NO_DEVICE
from studio.runs.environment import RUN_VARIABLE
from studio.tasks.failures import TaskError


@dataclass(frozen=True)
class Machine:
    """The facts about the device on which the arguments of the libraries depend."""

    device: Literal["cpu", "cuda"]
    bf16: bool


def choose_devices(devices: Sequence[str], wanted: str) -> None:
    """Let this process see the devices that it was given; must run before torch is imported.

    `devices` as in job.json, such as ("cuda:1",); without them `wanted`, the setting devices.use, decides. Under the
    shim the environment is already set. Raises TaskError for several devices, which one process cannot train on.
    """
    given = list(devices) or ([] if wanted == "auto" else wanted.split(","))
    given = [name for name in given if name != NO_DEVICE]
    if len(given) > 1:
        raise TaskError(
            "devices",
            f"Training on several devices at once ({', '.join(given)}) is not possible yet.",
            "Set devices.use to one of them.",
        )
    if RUN_VARIABLE in os.environ:
        return
    if given == ["cpu"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif given:
        os.environ["CUDA_VISIBLE_DEVICES"] = given[0].removeprefix("cuda:")


def detect(wanted: str) -> Machine:
    """The device that torch sees, after `choose_devices`. Raises TaskError when a GPU was asked for in vain."""
    import torch

    if torch.cuda.is_available():
        return Machine("cuda", torch.cuda.is_bf16_supported(including_emulation=False))
    if wanted.startswith("cuda"):
        raise TaskError(
            "devices",
            f"devices.use={wanted}, but PyTorch {torch.__version__} sees no GPU.",
            "Run `studio doctor`: it says whether the driver or the PyTorch build is missing. Or set devices.use=cpu.",
        )
    features = torch.cpu.get_capabilities()
    return Machine("cpu", any(bool(features.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16")))
