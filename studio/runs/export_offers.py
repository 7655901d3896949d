"""What lies in the workspace that could be exported: trained runs with their checkpoints, and local models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from studio.config.export import ExportConfig, SubjectConfig
from studio.config.faults import ConfigError
from studio.config.io import check, read_yaml
from studio.config.train import TrainConfig
from studio.config.workspace import OutsideWorkspace, Workspace
from studio.runs.checkpoints import checkpoints
from studio.runs.export_subject import ADAPTER_CONFIG
from studio.runs.folder import RunFolder

MOST_RUNS = 50
"""So many of the newest runs are offered; an older one can be named."""


@dataclass(frozen=True)
class Offer:
    """`path` as a config names it; `about` says in words what it is; `points` are the paths of its checkpoints.

    The path itself is empty where only the checkpoints hold weights: the run has not ended well.
    """

    name: str
    path: str
    about: str
    points: tuple[str, ...] = ()


def trained_runs(workspace: Workspace) -> list[Offer]:
    """Training runs that left weights, the newest first."""
    if not workspace.saves.is_dir():
        return []
    files = sorted(workspace.saves.glob("*/config.yaml"), key=lambda file: file.stat().st_mtime, reverse=True)
    found = (_trained_run(file.parent) for file in files[:MOST_RUNS])
    return [offer for offer in found if offer is not None]


def _trained_run(folder: Path) -> Offer | None:
    try:
        run = check(read_yaml(RunFolder(folder).config_text()), TrainConfig)[0]
    except ConfigError:
        return None
    if run is None:
        return None
    points = [point.path for point in reversed(checkpoints(RunFolder(folder))) if point.complete]
    held = tuple(f"saves/{folder.name}/{point.name}" for point in points if _holds_weights(point))
    path = f"saves/{folder.name}" if _holds_weights(folder) else ""
    about = f"{PurePosixPath(run.model.path.rstrip('/')).name} · {run.method.type} · {run.stage.type}"
    return Offer(folder.name, path, about, held) if path or held else None


def _holds_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (ADAPTER_CONFIG, "config.json"))


def local_models(workspace: Workspace) -> list[Offer]:
    """Folders under models/ that hold a model, by name."""
    folders = sorted(file.parent for file in workspace.models.glob("*/config.json"))
    return [Offer(folder.name, f"models/{folder.name}", "") for folder in folders]


def export_of(workspace: Workspace, path: str) -> ExportConfig:
    """An export of what lies at `path`, with every other setting as it is by default; whether it can be made is not
    looked at. A folder that no training run has left is taken for a model."""
    try:
        folder = workspace.resolve(path)
    except OutsideWorkspace:  # said at the field
        folder = workspace.saves / "?"
    trained = path.startswith("saves/") or any((place / "config.yaml").is_file() for place in (folder, folder.parent))
    return ExportConfig(subject=SubjectConfig(run=path) if trained else SubjectConfig(base=path))
