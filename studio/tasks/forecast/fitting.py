"""Make it fit: the smallest changes with which a run's forecast stays below a limit. Pure: it asks a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.config.faults import ConfigError
from studio.config.io import override, parse, spell
from studio.config.train import TrainConfig

Changes = Mapping[str, Any]  # path -> value
Measure = Callable[[TrainConfig], int]  # bytes of the forecast

CUTOFF = "data.cutoff_len"
SMALLEST_RANK = 4
SMALLEST_CUTOFF = 256
LEAN_OPTIMIZER = {"cpu": "adafactor", "cuda": "paged_adamw_8bit"}


@dataclass(frozen=True)
class Fit:
    """`changes` make the run need `after` bytes in place of `before`; `fits` whether that is within the limit."""

    changes: Changes
    before: int
    after: int
    fits: bool


def fit(config: TrainConfig, measure: Measure, limit: int, device: str, longest: int | None = None) -> Fit:
    """The changes to make, none where it fits already. `longest` is the longest row in tokens, where known.

    Each step is tried alone first, the gentlest first, but none that cuts rows; where no one is enough they are laid
    over each other in the same order until they are, and those are taken back that were not needed.
    """
    before = measure(config)
    if before <= limit:
        return Fit({}, before, before, True)
    ladder = [list(steps) for steps in (rungs(config, device, longest)) if steps]
    for step in (step for steps in ladder for step in steps):
        if CUTOFF not in step:  # what cuts rows is the last resort
            need = _need(config, step, measure)
            if need is not None and need <= limit:
                return Fit(step, before, need, True)
    return _together(config, measure, limit, ladder, before)


def rungs(config: TrainConfig, device: str, longest: int | None = None) -> Iterator[Sequence[Changes]]:
    """The ways to save memory, the gentlest first, each as steps that go further and further."""
    own, method = config.optimisation, config.method
    batch, product = own.per_device_train_batch_size, own.per_device_train_batch_size * own.gradient_accumulation_steps
    if longest and longest < config.data.cutoff_len and config.data.packing:
        yield [{CUTOFF: longest}]
    smaller = [size for size in range(batch - 1, 0, -1) if product % size == 0]
    yield [
        {"optimisation.per_device_train_batch_size": size, "optimisation.gradient_accumulation_steps": product // size}
        for size in smaller
    ]
    if own.gradient_checkpointing == "off" or (own.gradient_checkpointing == "auto" and device == "cpu"):
        yield [{"optimisation.gradient_checkpointing": "on"}]
    if config.quantization.type == "none" and "4bit" in method.quantized_bases:
        yield [{"quantization.type": "4bit"}]
    if own.optimizer.startswith("adamw") and "8bit" not in own.optimizer:
        yield [{"optimisation.optimizer": LEAN_OPTIMIZER[device]}]
    rank = getattr(method, "rank", None)
    if isinstance(rank, int):
        yield [{"method.rank": size} for size in halves(rank, SMALLEST_RANK)]
    length = min(config.data.cutoff_len, longest or config.data.cutoff_len)
    yield [{CUTOFF: size} for size in halves(length, SMALLEST_CUTOFF)]


def halves(value: int, least: int) -> list[int]:
    """Half of the value, half of that, … down to `least`."""
    found: list[int] = []
    while value // 2 >= least:
        value //= 2
        found.append(value)
    return found


def _together(
    config: TrainConfig, measure: Measure, limit: int, ladder: Sequence[Sequence[Changes]], before: int
) -> Fit:  # fmt: skip
    """Steps laid over each other until they are enough; each rung is gone down as far as it goes before the next."""
    taken: dict[str, Any] = {}
    need, parts = before, list[Changes]()
    for steps in ladder:
        for step in (steps[len(steps) // 2], steps[-1]):
            tried = _need(config, {**taken, **step}, measure)
            if tried is None or tried >= need:
                continue
            parts = [part for part in parts if part.keys() != step.keys()] + [step]
            taken, need = {**taken, **step}, tried
            if need <= limit:
                return _pruned(config, measure, limit, parts, before)
    return Fit(taken, before, need, False)


def _pruned(config: TrainConfig, measure: Measure, limit: int, parts: Sequence[Changes], before: int) -> Fit:
    """Without the changes that were not needed, the harshest being taken back first."""
    kept = list(parts)
    for part in list(reversed(parts)):
        without = [one for one in kept if one is not part]
        need = _need(config, _joined(without), measure)
        if need is not None and need <= limit:
            kept = without
    changes = _joined(kept)
    return Fit(changes, before, _need(config, changes, measure) or 0, True)


def _joined(parts: Sequence[Changes]) -> dict[str, Any]:
    return {path: value for part in parts for path, value in part.items()}


def _need(config: TrainConfig, changes: Changes, measure: Measure) -> int | None:
    """Bytes with the changes; None where they make no sound config."""
    changed = with_changes(config, changes)
    return None if changed is None else measure(changed)


def with_changes(config: TrainConfig, changes: Changes) -> TrainConfig | None:
    """The config with values by path; None where the rules refuse it."""
    tree = config.model_dump(mode="json")
    if "quantization.type" in changes:
        tree["quantization"] = {}
    try:
        return parse(override(tree, [f"{path}={spell(value)}" for path, value in changes.items()]))
    except ConfigError:
        return None
