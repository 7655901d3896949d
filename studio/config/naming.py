"""A name for a run whose config gives none: the model, the method and the time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from studio.config.evaluate import EvaluateConfig
from studio.config.export import ExportConfig
from studio.config.generate import GenerateConfig
from studio.config.jobs import JobConfig
from studio.config.kinds import kind_of
from studio.config.quantization import Hqq, Quantization
from studio.config.serve import ServeConfig
from studio.config.train import TrainConfig

_SHORTER = re.compile(r"[-_](instruct|chat|hf|it|v\d+(\.\d+)*)\b", re.IGNORECASE)


def name_for(config: JobConfig, now: datetime) -> str:
    """The name that the user gave, else one such as smollm2-135m-lora-1122-094012."""
    if config.name is not None:
        return config.name
    return f"{_SUBJECTS[kind_of(config)](config)}-{now:%m%d-%H%M%S}"


def model_words(path: str) -> str:
    """A model's path as a part of a name: its last word without what most models carry in their names."""
    model = _SHORTER.sub("", PurePosixPath(path.rstrip("/")).name)
    return re.sub(r"[^A-Za-z0-9.]+", "-", model).strip("-.").lower()[:40] or "model"


def _bits(quantization: Quantization) -> str:
    """How quantized weights show in a name; a checkpoint most often says it in its own."""
    if isinstance(quantization, Hqq):
        return f"hqq{quantization.bits}"
    return {"4bit": "q4", "8bit": "q8", "torchao": "int8", "eetq": "eetq"}.get(quantization.type, "")


def _train(config: TrainConfig) -> str:
    bits = _bits(config.quantization)
    stage = "" if config.stage.type == "sft" else f"{config.stage.type}-"
    return f"{model_words(config.model.path)}-{stage}{bits}{config.method.type}"


def _export(config: ExportConfig) -> str:
    run = (config.subject.run or "").removeprefix("saves/").replace("/", "-")
    return f"{model_words(run or config.subject.base or '')}-{config.format.type}"


def _generate(config: GenerateConfig) -> str:
    return f"{model_words(config.endpoint.model)}-{config.target.type.replace('_', '-')}"


def _serve(config: ServeConfig) -> str:
    return f"chat-{model_words(config.model.path)}"


def _evaluate(config: EvaluateConfig) -> str:
    runs = [path.removeprefix("saves/").replace("/", "-") for path in config.candidates.runs]
    return f"eval-{model_words(runs[0] if len(runs) == 1 else config.model.path)}"


_SUBJECTS: Mapping[str, Callable[[Any], str]] = {
    "serve": _serve,
    "train": _train,
    "evaluate": _evaluate,
    "probe": lambda config: f"probe-{_train(config)}",
    "export": _export,
    "generate": _generate,
}
