"""The config of a training run."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from studio.config.cadence import CadenceConfig, SamplesConfig
from studio.config.data import DataConfig
from studio.config.devices import DevicesConfig, TrackersConfig
from studio.config.jobs import JobConfig
from studio.config.method import Lora, Method
from studio.config.model import ModelConfig
from studio.config.optimisation import OptimisationConfig
from studio.config.quantization import NoQuantization, Quantization
from studio.config.section import Advanced
from studio.config.stage import Sft, Stage


class TrainConfig(JobConfig):
    """Everything that a training run depends on."""

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

    @property
    def merged_adapters(self) -> list[str]:
        """The adapters that are merged into the base before the training: the result stands on them."""
        on_top = getattr(self.method, "create_new_adapter", False)
        return list(self.model.adapters if on_top else self.model.adapters[:-1])
