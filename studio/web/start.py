"""What the Start button needs to know about the workspace: rows, missing datasets, the place in the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from studio.config.faults import ConfigError, Fault
from studio.config.jobs import TrainConfig
from studio.config.workspace import OutsideWorkspace, Workspace
from studio.data.chosen import dataset_faults
from studio.data.examples import DataError
from studio.data.listing import DatasetSummary, list_datasets
from studio.runs.devices import choose, inventory
from studio.runs.errors import RunExists
from studio.runs.folder import RunFolder
from studio.runs.states import ACTIVE, State
from studio.runs.submission import submit_config
from studio.runs.supervisor import IfExists, Supervisor
from studio.web.sizes import bytes_text
from studio.web.summary import Rows
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

    def start(self, config: TrainConfig, if_exists: str, hold: bool) -> str:
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

    def rows(self, config: TrainConfig) -> Rows:
        """How many rows the chosen datasets have together, as far as that is known without reading them."""
        try:
            known = self._datasets()
        except DataError:  # said by `faults`, at its field
            return Rows(None)
        counts = [known[name].rows if name in known else None for name in config.data.datasets]
        if not counts or any(count is None for count in counts):
            return Rows(None)
        most = config.data.max_samples
        return Rows(sum(min(count, most) if most else count for count in counts if count is not None))

    def _datasets(self) -> dict[str, DatasetSummary]:
        return {entry.name: entry for entry in list_datasets(self.workspace)}

    def faults(self, config: TrainConfig) -> list[Fault]:
        """What is wrong with the config in this workspace, beyond what is wrong with it anywhere."""
        return [*dataset_faults(self.workspace, config), *self._outside(config)]

    def _outside(self, config: TrainConfig) -> list[Fault]:
        """Local paths that a page may not reach: neither in the workspace nor in a folder that the operator listed."""
        faults: list[Fault] = []
        for field, texts in (("model.path", [config.model.path]), ("model.adapters", config.model.adapters)):
            for text in texts:
                try:
                    self.workspace.resolve(text)
                except OutsideWorkspace:
                    faults.append(Fault(field, "outside_workspace", text))
        return faults

    def place(self, language: str, config: TrainConfig) -> str:
        """Whether the run would start at once and on what, or how far back in the queue it would stand."""
        jobs = self.supervisor.jobs()
        present = [device.name for device in inventory()]
        busy = {name for job in jobs if job.state in ACTIVE for name in job.devices}
        free = choose(config.devices.use, present, busy)
        if free:
            return say(language, "page.form.starts_now", device=", ".join(free))
        waiting = sum(job.state is State.QUEUED and not job.held for job in jobs)
        wanted = present[0] if config.devices.use == "auto" else config.devices.use
        return say(language, "page.form.waits", device=wanted, position=waiting + 1)
