"""The environment of a worker, and which values in it are secret."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from studio.runs.folder import RunFolder

RUN_VARIABLE = "STUDIO_RUN_FOLDER"
"""Marks every process of a run with the run's folder: children inherit it wherever they go."""

SECRET_NAMES = frozenset(
    {
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "MODELSCOPE_API_TOKEN",
        "WANDB_API_KEY",
        "SWANLAB_API_KEY",
        "COMET_API_KEY",
        "NEPTUNE_API_TOKEN",
        "MLFLOW_TRACKING_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "OPENAI_API_KEY",
        "STUDIO_PASSWORD",
    }
)
_SECRET_ENDING = re.compile(r"(_TOKEN|_KEY|_SECRET|PASSWORD)$", re.IGNORECASE)
_SHORTEST_SECRET = 4  # a shorter value would be found in every other word
MASK = "***"

NO_TELEMETRY = {
    # TRL's trainers and huggingface_hub send through huggingface_hub.utils.send_telemetry, which asks these three.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}


def worker_environment(base_env: Mapping[str, str], devices: Sequence[str], folder: RunFolder) -> dict[str, str]:
    """`base_env` and what a worker on `devices` needs: it sees just its GPUs, from 0 on, and reports to nobody."""
    gpus = [name.removeprefix("cuda:") for name in devices if name.startswith("cuda:")]
    return {
        **base_env,
        **NO_TELEMETRY,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # NVML's order; CUDA's own puts the fastest first
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        "PYTHONUNBUFFERED": "1",
        "TENSORBOARD_LOGGING_DIR": str(folder.tensorboard),
        "TOKENIZERS_PARALLELISM": "false",
        RUN_VARIABLE: str(folder.path),
    }


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds something that no page, log or config may show."""
    return name.upper() in SECRET_NAMES or _SECRET_ENDING.search(name) is not None


def mask_secrets(text: str, env: Mapping[str, str]) -> str:
    """`text` with the values of the secret variables of `env` replaced by ***, long ones first."""
    values = {value for name, value in env.items() if is_secret(name) and len(value) >= _SHORTEST_SECRET}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text
