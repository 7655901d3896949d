"""What a choice can be, looked up when a form is drawn: models, datasets, adapters, devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from studio.config.catalogue import load_catalogue
from studio.config.generate import DOCUMENT_ENDINGS
from studio.config.optimizers import OPTIMIZERS
from studio.config.rewards import LIBRARY as REWARDS
from studio.config.shipped import SHIPPED_MODEL, SHIPPED_PARAMETERS
from studio.config.templates import TEMPLATE_NAMES
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.data.listing import list_datasets
from studio.runs.adapters import adapter_kind
from studio.runs.checkpoints import checkpoints
from studio.runs.configs import config_of
from studio.runs.devices import inventory
from studio.runs.folder import RunFolder
from studio.runs.supervisor import Supervisor

Choice = str | tuple[str, str]
Provider = Callable[[], list[Choice]]

# Names that the layers of most open models go by; any other name can be typed.
LAYER_NAMES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def local_models(workspace: Workspace) -> list[Choice]:
    """Folders under models/ that hold a model, newest first."""
    if not workspace.models.is_dir():
        return []
    folders = [path.parent for path in workspace.models.glob("*/config.json")]
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [f"models/{path.name}" for path in folders]


def recent_models(supervisor: Supervisor, most: int = 5) -> list[Choice]:
    """Models of the last trainings that lie elsewhere or on a hub."""
    found: dict[str, None] = {}
    trainings = [job for job in supervisor.jobs() if job.kind == "train"]
    for job in sorted(trainings, key=lambda job: job.created, reverse=True)[:50]:
        text = RunFolder(supervisor.workspace.saves / job.name).config_text()
        line = next((line for line in text.splitlines() if line.startswith("  path: ")), "")
        if path := line.removeprefix("  path: ").strip("'\" "):
            found[path] = None
    return list(found)[:most]


def catalogue() -> list[Choice]:
    """Well-known open models with their size, by their Hugging Face id."""
    return [(f"{model.huggingface} · {model.parameters:g} B", model.huggingface) for model in load_catalogue()]


def adapters(workspace: Workspace) -> list[Choice]:
    """Adapters of finished runs and in their complete checkpoints."""
    found: list[Choice] = []
    for config in sorted(workspace.saves.glob("*/adapter_config.json")):
        if adapter_kind(config.parent):
            found.append(f"saves/{config.parent.name}")
    for folder in sorted(workspace.saves.glob("*/")):
        found += [
            f"saves/{folder.name}/{point.path.name}"
            for point in checkpoints(RunFolder(folder))
            if point.complete and (point.path / "adapter_config.json").exists()
        ]
    return found


def datasets(workspace: Workspace) -> list[Choice]:
    """Datasets of the registry that can be used, with their rows; none when the registry itself is broken."""
    try:
        entries = list_datasets(workspace)
    except DataError:  # said at the field as soon as a dataset is chosen
        return []
    usable = [entry for entry in entries if entry.problem is None]
    return [(entry.name if entry.rows is None else f"{entry.name} · {entry.rows:,}", entry.name) for entry in usable]


def reward_models(workspace: Workspace) -> list[Choice]:
    """Runs that trained a reward model and left one, newest first."""
    found = [folder for folder in workspace.saves.glob("*/") if _scores(folder)]
    found.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    return [f"saves/{folder.name}" for folder in found]


def _scores(folder: Path) -> bool:
    """Whether the run's model gives an answer a score, and its weights or those of its adapter are there."""
    if not any((folder / name).exists() for name in ("adapter_config.json", "config.json")):
        return False
    config = config_of(RunFolder(folder), TrainConfig)
    return config is not None and config.stage.type == "reward"


def documents(workspace: Workspace) -> list[Choice]:
    """Documents at the top of the workspace, and folders there that hold some; the folders of Studio's own left out."""
    own = {workspace.saves, workspace.models, workspace.exports, workspace.engines, workspace.cache}
    found = [path for path in sorted(workspace.root.iterdir()) if path not in own and not path.name.startswith(".")]
    return [
        path.name for path in found if _is_document(path) or (path.is_dir() and any(map(_is_document, path.glob("*"))))
    ]


def _is_document(path: Path) -> bool:
    return path.suffix.lower() in DOCUMENT_ENDINGS and path.is_file()


def providers(workspace: Workspace, supervisor: Supervisor) -> Mapping[str, Provider]:
    """Every provider that a field of the schema may name."""

    def models() -> list[Choice]:
        shipped = (f"{Path(SHIPPED_MODEL).name} · {SHIPPED_PARAMETERS:g} B · shipped", SHIPPED_MODEL)
        known = [shipped, *local_models(workspace), *recent_models(supervisor), *catalogue()]
        by_value = {(choice if isinstance(choice, str) else choice[1]): choice for choice in reversed(known)}
        return list(reversed(by_value.values()))

    return {
        "models": models,
        "adapters": lambda: adapters(workspace),
        "datasets": lambda: datasets(workspace),
        "documents": lambda: documents(workspace),
        "rewards": lambda: [entry.name for entry in REWARDS],
        "reward_models": lambda: reward_models(workspace),
        "templates": lambda: ["auto", *TEMPLATE_NAMES],
        "optimizers": lambda: list(OPTIMIZERS),
        "target_modules": lambda: list(LAYER_NAMES),
        "devices": lambda: ["auto", *(device.name for device in inventory())],
    }
