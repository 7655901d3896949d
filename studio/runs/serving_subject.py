"""A serving process to begin with, for something that was trained or exported here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.config.faults import ConfigError
from studio.config.io import check, read_yaml
from studio.config.model import BaseModelConfig
from studio.config.serve import ServeConfig
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.runs.adapters import gives_scores
from studio.runs.atomic import read_json
from studio.runs.export_subject import ADAPTER_CONFIG
from studio.runs.folder import RunFolder
from studio.runs.records import Fields


def serving_of(workspace: Workspace, path: str) -> ServeConfig | None:
    """What serves the run, checkpoint, model, adapter or GGUF file in the folder `path`; an adapter beside its base.

    Adapters on which that one stands are merged into the base first. None where nothing there can be served, such as a
    reward model.
    Raises OutsideWorkspace.
    """
    folder = workspace.resolve(path)
    if gives_scores(folder):
        return None
    tree = _adapter(folder, path) if (folder / ADAPTER_CONFIG).is_file() else _model(folder, path)
    return check(tree, ServeConfig)[0] if tree is not None else None


def _adapter(folder: Path, path: str) -> dict[str, Any] | None:
    run = _trained(folder)
    if run is None:
        base = Fields(read_json(folder / ADAPTER_CONFIG)).text("base_model_name_or_path")
        return {"model": {"path": base}, "serving": {"adapters": [path]}} if base else None
    model = run.model.model_dump(include=set(BaseModelConfig.model_fields))
    serving = {"adapters": [path], "merged": run.merged_adapters}
    return {"model": model, "quantization": run.quantization.model_dump(), "serving": serving}


def _model(folder: Path, path: str) -> dict[str, Any] | None:
    if (folder / "config.json").is_file():
        run = _trained(folder)
        return {"model": {"path": path, "chat_template": run.model.chat_template if run else "auto"}}
    file = next(iter(sorted(folder.glob("*.gguf"))), None)
    return None if file is None else {"model": {"path": f"{path}/{file.name}"}, "engine": {"type": "llama-cpp"}}


def _trained(folder: Path) -> TrainConfig | None:
    """How it was trained, if it is a run or a checkpoint of one."""
    for place in (folder, folder.parent):
        try:
            run = check(read_yaml(RunFolder(place).config_text()), TrainConfig)[0]
        except ConfigError:
            continue
        if run is not None:
            return run
    return None
