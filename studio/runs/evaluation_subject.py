"""What an evaluation is about, as its config says; and an evaluation of a trained run to begin with."""

from __future__ import annotations

from dataclasses import dataclass

from studio.config.evaluate import EvaluateConfig
from studio.config.faults import ConfigError
from studio.config.io import check, read_yaml
from studio.config.model import BaseModelConfig
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.runs.configs import config_of
from studio.runs.folder import RunFolder

BASE = "base"
"""What the untuned model is called among the candidates."""


@dataclass(frozen=True)
class Subject:
    """Who is asked what: the base model, the candidates by their names, the datasets; `writes`: answers are written."""

    model: str = ""
    candidates: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    writes: bool = True


def subject(folder: RunFolder) -> Subject:
    """What the run's config asks; an empty subject when it cannot be read."""
    config = evaluation_config(folder)
    if config is None:
        return Subject()
    asked = config.candidates
    candidates = ((BASE,) if asked.base else ()) + tuple(dict.fromkeys(asked.runs))
    return Subject(config.model.path, candidates, tuple(config.questions.datasets), config.decoding.generate)


def evaluation_config(folder: RunFolder) -> EvaluateConfig | None:
    """The config of an evaluation; None when it cannot be read."""
    return config_of(folder, EvaluateConfig)


def evaluation_of(workspace: Workspace, path: str) -> EvaluateConfig | None:
    """An evaluation of a trained run, checkpoint or adapter: on its own base, with the rows that it was validated on.

    `path` as in candidates.runs, such as saves/my-run. None when nothing is known of how it was trained.
    Raises OutsideWorkspace.
    """
    folder = workspace.resolve(path)
    for place in (folder, folder.parent):
        trained = _trained(RunFolder(place))
        if trained is not None:
            break
    else:
        return None
    merged = trained.merged_adapters
    tree = {
        "model": trained.model.model_dump(include=set(BaseModelConfig.model_fields)),
        "quantization": trained.quantization.model_dump(),
        "candidates": {"runs": [path], "merged": merged},
        "questions": {"datasets": list(trained.data.validation_datasets)},
    }
    return check(tree, EvaluateConfig)[0]


def _trained(folder: RunFolder) -> TrainConfig | None:
    text = folder.config_text()
    try:
        return check(read_yaml(text), TrainConfig)[0] if text else None
    except ConfigError:
        return None
