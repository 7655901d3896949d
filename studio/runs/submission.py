"""From a parsed config to a queued run: the one line that the commands and the buttons of the page both enter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from studio.config.io import dump
from studio.config.jobs import JobConfig
from studio.config.kinds import devices_wanted, kind_of
from studio.config.naming import name_for
from studio.runs.devices import choose, inventory
from studio.runs.states import ACTIVE, State
from studio.runs.store import Job
from studio.runs.supervisor import IfExists, Supervisor


def submit_config(
    supervisor: Supervisor,
    config: JobConfig,
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
    wanted = devices_wanted(config)
    return supervisor.submit(name, kind_of(config), text, devices_wanted=wanted, if_exists=if_exists, hold=hold)


@dataclass(frozen=True)
class Place:
    """Where a run would stand: `position` 0 means that it starts at once on `devices`, else it waits for them."""

    devices: str
    position: int


def place(supervisor: Supervisor, config: JobConfig) -> Place:
    """What would happen to the run if it were submitted now."""
    jobs, wanted = supervisor.jobs(), devices_wanted(config)
    present = [device.name for device in inventory()]
    free = choose(wanted, present, {name for job in jobs if job.state in ACTIVE for name in job.devices})
    if free:
        return Place(", ".join(free), 0)
    waiting = sum(job.state is State.QUEUED and not job.held for job in jobs)
    return Place(present[0] if wanted == "auto" else wanted, waiting + 1)
