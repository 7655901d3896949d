"""Whether activations are computed twice where that is left to Studio: only when the run does not fit without."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.tasks.arguments import plan
from studio.tasks.machine import Machine

SHARE = 0.9  # of the GPU's memory that a forecast may fill: it can be a tenth too low

logger = logging.getLogger(__name__)


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
    try:
        need = _need(with_checkpointing(config, "off"), machine, workspace)
    except Exception as error:  # noqa: BLE001 - an architecture that cannot be foretold is trained as before
        logger.warning("memory could not be foretold: %s", error)
        return config
    way = "off" if need <= SHARE * total else "on"
    reason = "so activations are kept" if way == "off" else "so activations are computed twice (gradient checkpointing)"
    notice(f"The forecast is {need / 1e9:.1f} GB of the GPU's {total / 1e9:.1f} GB without checkpointing, {reason}.")
    return with_checkpointing(config, way)


def gpu_memory() -> int:
    """Bytes of the GPU that this process uses."""
    import torch

    return int(torch.cuda.mem_get_info()[1])


def with_checkpointing(config: TrainConfig, way: str) -> TrainConfig:
    """The config with gradient checkpointing set to on or off."""
    changed = config.optimisation.model_copy(update={"gradient_checkpointing": way})
    return config.model_copy(update={"optimisation": changed})


def _need(config: TrainConfig, machine: Machine, workspace: Workspace) -> int:
    """Bytes of the run when its rows are as long as the cutoff: what is known of them is known only later."""
    from studio.tasks.forecast.blueprint import model_config
    from studio.tasks.forecast.parts import batch_of, forecast
    from studio.tasks.model import find_model

    todo = plan(config, machine, Path(config.name or "run"))
    source = find_model(todo.model["path"], workspace, todo.model["hub"], todo.model["revision"])
    architecture = model_config(source, todo.model)
    return forecast(config, todo, architecture, batch_of(config, None), machine.device, workspace).total
