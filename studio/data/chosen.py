"""Whether the datasets that a config names are there and can be used, said before anything starts."""

from __future__ import annotations

import difflib

from studio.config.faults import Fault
from studio.config.jobs import JobConfig
from studio.config.leaves import applies, leaves, value_at
from studio.config.stage import stages_learning
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.data.listing import DatasetSummary, list_datasets


def dataset_faults(workspace: Workspace, config: JobConfig) -> list[Fault]:
    """A fault for each chosen dataset that the registry does not hold or cannot read."""
    chosen = [
        (leaf.path, [value] if isinstance(value := value_at(config, leaf), str) else value or [])
        for leaf in leaves(type(config))
        if leaf.choices is not None and leaf.choices.provider == "datasets" and applies(config, leaf)
    ]
    if not any(names for _, names in chosen):
        return []
    try:
        entries = {entry.name: entry for entry in list_datasets(workspace)}
    except DataError as error:
        return [Fault(chosen[0][0], "broken_registry", details={"reason": str(error)})]
    faults: list[Fault] = []
    for path, names in chosen:
        for name in names:
            entry = entries.get(name)
            if entry is None:
                near = next(iter(difflib.get_close_matches(name, list(entries), n=1)), "")
                faults.append(Fault(path, "no_such_dataset_near" if near else "no_such_dataset", name, {"near": near}))
            elif entry.problem:
                faults.append(Fault(path, "broken_dataset", name, {"reason": entry.problem}))
            elif isinstance(config, TrainConfig) and not entry.fits(config.stage.kinds):
                faults.append(_unfit(path, entry, config))
    return faults


def _unfit(path: str, entry: DatasetSummary, config: TrainConfig) -> Fault:
    """The rows are of another kind than the stage learns from, which its entry in the registry tells."""
    details = {
        "kinds": ", ".join(entry.kinds),
        "stage": config.stage.type,
        "wanted": ", ".join(sorted(config.stage.kinds)),
        "stages": ", ".join(stages_learning(entry.kinds)),
    }
    return Fault(path, "wrong_rows", entry.name, details)


def chosen_rows(workspace: Workspace, config: TrainConfig) -> int | None:
    """Rows of the chosen training datasets together, at most max_samples of each; None while one is unknown."""
    try:
        known = {entry.name: entry.rows for entry in list_datasets(workspace)}
    except DataError:  # dataset_faults says it, at its field
        return None
    counts = [known.get(name) for name in config.data.datasets]
    if not counts or None in counts:
        return None
    most = config.data.max_samples
    return sum(min(count, most) if most else count for count in counts if count is not None)
