"""The forecast as a worker asks for it: bytes of its own run, None where they cannot be foretold."""

from __future__ import annotations

import logging
from pathlib import Path

from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.tasks.arguments import plan
from studio.tasks.machine import Machine

logger = logging.getLogger(__name__)


def need(config: TrainConfig, machine: Machine, workspace: Workspace, longest: int | None = None) -> int | None:
    """Bytes of the run on this machine; `longest` is its longest row in tokens, None takes the cutoff."""
    from studio.tasks.forecast.blueprint import model_config
    from studio.tasks.forecast.parts import batch_of, forecast
    from studio.tasks.model import find_model

    todo = plan(config, machine, Path(config.name or "run"))
    try:
        # A model that is not here yet is fetched or refused later, by the run itself.
        source = find_model(todo.model["path"], workspace, todo.model["hub"], todo.model["revision"])
        architecture = model_config(source, todo.model)
        return forecast(config, todo, architecture, batch_of(config, longest), machine.device, workspace).total
    except Exception as error:  # noqa: BLE001 - an architecture that cannot be foretold is trained as before
        logger.warning("memory could not be foretold: %s", error)
        return None
