"""Rules of the stages that learn from judged answers, and of what such rows cannot do."""

from __future__ import annotations

from collections.abc import Iterator

from studio.config.faults import Fault, hint
from studio.config.preference_stages import Dpo, Kto, Reward
from studio.config.train import TrainConfig

PACKED = frozenset({"sft", "pretrain"})
SMOOTHED = frozenset({"robust", "exo_pair"})


def only_whole_rows_are_packed(config: TrainConfig) -> Iterator[Fault]:
    """Rows are joined where every token is learnt alike, and not where whole answers are compared."""
    if config.data.packing and config.stage.type not in PACKED:
        yield Fault("data.packing", "packing_stage", details={"stage": config.stage.type})


def smoothing_suits_the_loss(config: TrainConfig) -> Iterator[Fault]:
    """Two of the losses know of wrong pairs, and one of them cannot do without."""
    stage = config.stage
    if not isinstance(stage, Dpo):
        return
    if stage.loss == "exo_pair" and stage.label_smoothing == 0:
        yield Fault("stage.label_smoothing", "exo_needs_smoothing")
    if stage.loss not in SMOOTHED and stage.label_smoothing > 0:
        yield hint("stage.label_smoothing", "smoothing_unused", loss=stage.loss)


def kto_has_rows_to_compare(config: TrainConfig) -> Iterator[Fault]:
    """KTO measures the distance from the reference with the answers of the other rows of a batch."""
    stage = config.stage
    if isinstance(stage, Kto) and stage.loss == "kto" and config.optimisation.per_device_train_batch_size < 2:
        yield Fault("optimisation.per_device_train_batch_size", "kto_single_rows")


def a_reward_model_writes_nothing(config: TrainConfig) -> Iterator[Fault]:
    """Its head gives one number, so there are no words to sample."""
    if isinstance(config.stage, Reward) and config.samples.prompts:
        yield Fault("samples.prompts", "reward_writes_nothing")


RULES = (
    only_whole_rows_are_packed,
    smoothing_suits_the_loss,
    kto_has_rows_to_compare,
    a_reward_model_writes_nothing,
)
