"""On what a run computes, and who else is told about it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from studio.config.section import Advanced, Choices, Section

NO_DEVICE = "none"  # what a job asks for that computes on nothing of this machine: it waits for nobody


class DevicesConfig(Section):
    """The devices that a run asks for. A job waits in the queue until they are free."""

    use: Annotated[str, Choices("devices"), Advanced()] = Field(
        title="Device", default="auto", pattern=r"^(auto|cpu|cuda:\d+(,cuda:\d+)*)$"
    )
    """auto takes the first free GPU, else the CPU; or cpu, or cuda:0."""

    cpu_threads: Annotated[int, Advanced()] = Field(title="CPU threads", default=0, ge=0, le=1024)
    """Threads of a computation on the CPU; 0 leaves it to PyTorch and OMP_NUM_THREADS."""


class TrackersConfig(Section):
    """Where the metrics go beside Studio's own charts."""

    report_to: Annotated[
        list[
            Literal[
                "tensorboard",
                "wandb",
                "mlflow",
                "swanlab",
                "trackio",
                "comet_ml",
                "neptune",
                "clearml",
                "codecarbon",
                "dagshub",
                "dvclive",
                "azure_ml",
                "flyte",
                "kubeflow",
            ]
        ],
        Advanced(),
    ] = Field(title="Trackers", default=["tensorboard"])
    """Trackers by the names that transformers gives them; their keys are read from the environment."""
