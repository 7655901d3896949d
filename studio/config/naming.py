"""A name for a run whose config gives none: the model, the method and the time."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import PurePosixPath

from studio.config.jobs import TrainConfig

_SHORTER = re.compile(r"[-_](instruct|chat|hf|it|v\d+(\.\d+)*)\b", re.IGNORECASE)


def name_for(config: TrainConfig, now: datetime) -> str:
    """The name that the user gave, else one such as smollm2-135m-lora-1122-0940."""
    if config.name is not None:
        return config.name
    model = _SHORTER.sub("", PurePosixPath(config.model.path.rstrip("/")).name)
    model = re.sub(r"[^A-Za-z0-9.]+", "-", model).strip("-.").lower()[:40] or "model"
    bits = {"none": "", "4bit": "q4", "8bit": "q8"}[config.quantization.type]
    stage = "" if config.stage.type == "sft" else f"{config.stage.type}-"
    return f"{model}-{stage}{bits}{config.method.type}-{now:%m%d-%H%M%S}"
