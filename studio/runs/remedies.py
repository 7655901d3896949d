"""After a failure: the smallest changes to a run's settings that take its cause away, by the class of the failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from studio.config.train import TrainConfig
from studio.runs.endings import GPU_MEMORY, MEMORY

SHORTEST_CUTOFF = 256
FAILED_TO_LEARN = "not_finite"

Changes = dict[str, Any]


def remedy(config: TrainConfig, kind: str) -> Changes:
    """Settings by path and what they shall be, for a new try; empty where the settings are not to blame.

    `kind` is the class of the failure (end.json). The first change that is possible is taken: a little slower first,
    other results last.
    """
    for offer in _OFFERS.get(kind, ()):
        for changes in offer(config):
            return changes
    return {}


def _recompute(config: TrainConfig) -> Iterator[Changes]:
    if config.optimisation.gradient_checkpointing != "on":
        yield {"optimisation.gradient_checkpointing": "on"}


def _smaller_batch(config: TrainConfig) -> Iterator[Changes]:
    """Half the rows at once and twice the batches: the same rows a step."""
    batch, batches = (
        config.optimisation.per_device_train_batch_size,
        config.optimisation.gradient_accumulation_steps,
    )
    if batch > 1:
        whole = batch * batches
        half = max(size for size in range(1, batch // 2 + 1) if whole % size == 0)
        yield {
            "optimisation.per_device_train_batch_size": half,
            "optimisation.gradient_accumulation_steps": whole // half,
        }


def _four_bits(config: TrainConfig) -> Iterator[Changes]:
    if config.quantization.type == "none" and "4bit" in config.method.quantized_bases:
        yield {"quantization.type": "4bit"}


def _shorter_rows(config: TrainConfig) -> Iterator[Changes]:
    if config.data.cutoff_len >= 2 * SHORTEST_CUTOFF:
        yield {"data.cutoff_len": config.data.cutoff_len // 2}


def _slower(config: TrainConfig) -> Iterator[Changes]:
    yield {"optimisation.learning_rate": float(f"{config.optimisation.learning_rate / 3:.2g}")}


_LESS_MEMORY = (_smaller_batch, _recompute, _four_bits, _shorter_rows)

_OFFERS: Mapping[str, tuple[Callable[[TrainConfig], Iterator[Changes]], ...]] = {
    GPU_MEMORY: _LESS_MEMORY,
    MEMORY: _LESS_MEMORY,
    FAILED_TO_LEARN: (_slower,),
}
