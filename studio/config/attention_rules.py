"""Rules of methods that bring an attention of their own: what it can stand beside."""

from __future__ import annotations

from collections.abc import Iterator

from studio.config.faults import Fault
from studio.config.low_rank import LongLora
from studio.config.method import MixtureOfDepths
from studio.config.stage import Sft
from studio.config.train import TrainConfig


def groups_stand_for_one_row(config: TrainConfig) -> Iterator[Fault]:
    """Groups are cut by the length of a row, so several packed conversations would see each other. Plain text in
    blocks is one row each."""
    if isinstance(config.method, LongLora) and isinstance(config.stage, Sft) and config.data.packing:
        yield Fault("data.packing", "longlora_packing")


def groups_are_attended_by_sdpa(config: TrainConfig) -> Iterator[Fault]:
    """The shifted groups are computed by PyTorch's own attention."""
    chosen = config.model.attention
    if isinstance(config.method, LongLora) and chosen not in ("auto", "sdpa"):
        yield Fault("model.attention", "longlora_attention", chosen)


def routed_rows_stand_alone(config: TrainConfig) -> Iterator[Fault]:
    """The best tokens of a row are computed among themselves, and a packed row is several."""
    if isinstance(config.method, MixtureOfDepths) and isinstance(config.stage, Sft) and config.data.packing:
        yield Fault("data.packing", "routed_packing")


def routed_layers_have_masks(config: TrainConfig) -> Iterator[Fault]:
    """Tokens that pass a layer by are hidden by its mask, which other kernels do not take."""
    chosen = config.model.attention
    if isinstance(config.method, MixtureOfDepths) and chosen not in ("auto", "sdpa", "eager"):
        yield Fault("model.attention", "routed_attention", chosen)


RULES = (
    groups_stand_for_one_row,
    groups_are_attended_by_sdpa,
    routed_rows_stand_alone,
    routed_layers_have_masks,
)
