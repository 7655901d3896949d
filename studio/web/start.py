"""What the Start button needs to know about the workspace: rows, missing datasets, the place in the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from studio.config.faults import ConfigError, Fault
from studio.config.jobs import JobConfig
from studio.config.layer_support import layer_faults
from studio.config.local_paths import outside_faults
from studio.config.machine_support import machine_faults
from studio.config.quantization_support import quantization_faults
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.data.chosen import chosen_rows, dataset_faults
from studio.runs.devices import has_gpu
from studio.runs.errors import RunExists
from studio.runs.folder import RunFolder
from studio.runs.states import State
from studio.runs.submission import place, submit_config
from studio.runs.supervisor import IfExists, Supervisor
from studio.web.sizes import bytes_text
from studio.web.words import say


class Exists(Exception):
    """A run of that name is there already: the page asks what shall happen to it."""

    def __init__(self, name: str, state: str, size: str) -> None:
        super().__init__(name)
        self.name, self.state, self.size = name, state, size


@dataclass(frozen=True)
class Starter:
    """Starts runs for the form, and says beforehand what a start would meet."""

    workspace: Workspace
    supervisor: Supervisor

    def start(self, config: JobConfig, if_exists: str, hold: bool) -> str:
        """The name of the queued run. Raises Exists, ConfigError, RunError."""
        faults = self.faults(config)
        if faults:
            raise ConfigError(faults)
        try:
            return submit_config(self.supervisor, config, if_exists=cast(IfExists, if_exists), hold=hold).name
        except RunExists:
            name = config.name or ""
            state = next((job.state.value for job in self.supervisor.jobs() if job.name == name), State.LOST.value)
            size = RunFolder(self.workspace.saves / name).size_bytes()
            raise Exists(name, state, bytes_text(size)) from None

    def rows(self, config: TrainConfig) -> int | None:
        """How many rows the chosen datasets have together, as far as that is known without reading them."""
        return chosen_rows(self.workspace, config)

    def faults(self, config: JobConfig) -> list[Fault]:
        """What is wrong with the config in this workspace, beyond what is wrong with it anywhere."""
        return [
            *dataset_faults(self.workspace, config),
            *outside_faults(self.workspace, config),
            *quantization_faults(self.workspace, config, has_gpu),
            *machine_faults(config, has_gpu),
            *layer_faults(self.workspace, config),
        ]

    def place(self, language: str, config: JobConfig) -> str:
        """Whether the run would start at once and on what, or how far back in the queue it would stand."""
        where = place(self.supervisor, config)
        if where.position == 0:
            return say(language, "page.form.starts_now", device=where.devices)
        return say(language, "page.form.waits", device=where.devices, position=where.position)
