"""From a parsed config to a queued run: the one line that `studio train` and the Start button both enter."""

from __future__ import annotations

from datetime import datetime

from studio.config.io import dump
from studio.config.jobs import TrainConfig
from studio.config.naming import name_for
from studio.runs.store import Job
from studio.runs.supervisor import IfExists, Supervisor


def submit_config(
    supervisor: Supervisor,
    config: TrainConfig,
    *,
    if_exists: IfExists = "refuse",
    hold: bool = False,
    now: datetime | None = None,
) -> Job:
    """Queue the run that `config` means; it starts at once when its device is free and `hold` is off.

    Raises RunExists when the folder is there and `if_exists` is "refuse", and what Supervisor.submit raises.
    """
    name = name_for(config, now or datetime.now())
    text = dump(config.model_copy(update={"name": name}))
    return supervisor.submit(name, "train", text, devices_wanted=config.devices.use, if_exists=if_exists, hold=hold)
