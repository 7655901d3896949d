"""Whether activations are computed twice where that is left to Studio: only when the run does not fit without."""

from __future__ import annotations

from collections.abc import Callable

from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.tasks.forecast.need import need
from studio.tasks.machine import Machine

SHARE = 0.9  # of the GPU's memory that a forecast may fill: it can be a tenth too low


def settled(
    config: TrainConfig, machine: Machine, workspace: Workspace, notice: Callable[[str], None]
) -> TrainConfig:  # fmt: skip
    """The config with gradient checkpointing decided, on a GPU whose memory is known; else as it was.

    Where no forecast is possible the arguments' own rule stays: on with a GPU, off on a CPU.
    """
    chosen = config.optimisation.gradient_checkpointing
    if chosen != "auto" or machine.device != "cuda" or not config.method.recomputes:
        return config
    total = gpu_memory()
    wanted = need(with_checkpointing(config, "off"), machine, workspace)
    if wanted is None:
        return config
    way = "off" if wanted <= SHARE * total else "on"
    reason = "so activations are kept" if way == "off" else "so activations are computed twice (gradient checkpointing)"
    notice(f"The forecast is {wanted / 1e9:.1f} GB of the GPU's {total / 1e9:.1f} GB without checkpointing, {reason}.")
    return with_checkpointing(config, way)


def gpu_memory() -> int:
    """Bytes of the GPU that this process uses."""
    import torch

    return int(torch.cuda.mem_get_info()[1])


def with_checkpointing(config: TrainConfig, way: str) -> TrainConfig:
    """The config with gradient checkpointing set to on or off."""
    changed = config.optimisation.model_copy(update={"gradient_checkpointing": way})
    return config.model_copy(update={"optimisation": changed})
