"""The kinds of job and the config of each."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from studio.config.cadence import CadenceConfig, SamplesConfig
from studio.config.data import DataConfig
from studio.config.devices import DevicesConfig, TrackersConfig
from studio.config.method import Lora, Method
from studio.config.model import ModelConfig
from studio.config.optimisation import OptimisationConfig
from studio.config.quantization import NoQuantization, Quantization
from studio.config.section import Advanced, Section
from studio.config.stage import Sft, Stage

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class TrainConfig(Section):
    """Everything that a training run depends on."""

    name: str | None = Field(title="Run name", default=None, pattern=NAME_PATTERN)
    """Name of the run and of its folder under saves; empty makes one from the model, the method and the time."""

    model: ModelConfig
    """The base model."""

    quantization: Quantization = NoQuantization()
    """How the frozen base weights are held in memory."""

    data: DataConfig = DataConfig()
    """What is trained on."""

    stage: Stage = Sft()
    """What the model is trained for."""

    method: Method = Lora()
    """What of the model is trained."""

    optimisation: OptimisationConfig = OptimisationConfig()
    """How the weights are moved."""

    cadence: CadenceConfig = Field(title="Saving and evaluation", default=CadenceConfig())
    """How often the run logs, saves and evaluates."""

    samples: SamplesConfig = Field(title="Questions to ask", default=SamplesConfig())
    """What the model is asked before and after."""

    trackers: TrackersConfig = TrackersConfig()
    """Where the metrics go beside Studio."""

    devices: DevicesConfig = DevicesConfig()
    """What the run computes on."""

    seed: int = Field(default=42, ge=0, le=2**32 - 1)
    """Start of every random choice: the same seed gives the same run."""

    trainer: Annotated[dict[str, Any], Advanced()] = Field(title="Further trainer arguments", default={})
    """Further arguments of the trainer by their own names, for what has no field here."""


KINDS: dict[str, type[Section]] = {"train": TrainConfig}
