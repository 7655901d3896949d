"""What a cutoff, packing and a batch make of a dataset whose tokens were counted: rows, tokens, steps of an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from studio.config.train import TrainConfig
from studio.data.packing import pack
from studio.data.splits import split
from studio.data.token_reports import NAMED_ROWS, NEVER, TokenReport


@dataclass(frozen=True)
class Account:
    """One set of rows at one cutoff.

    `masked` rows have nothing to train on at any cutoff, `dropped` ones only not within this one: both are left out.
    `tokens` and `trained` count the rows that are kept. `units` are what a batch is made of: rows, or packed rows.
    `which` names the first places of the rows cut, dropped and masked.
    """

    rows: int
    cut: int
    dropped: int
    masked: int
    kept: int
    tokens: int
    trained: int
    held: int
    units: int
    fill: float
    steps: int
    which: dict[str, list[int]]


def account(report: TokenReport, config: TrainConfig) -> Account:
    """What a run with `config` makes of the whole dataset; `units`, `fill` (share of filled places in them) and
    `steps` (of the optimizer, in one epoch) are those of the part that is not held back for validation."""
    cutoff, blocks = config.data.cutoff_len, _blocks(config)
    limit = None if blocks else cutoff
    taken = range(len(report.lengths))
    kept = [row for row in taken if report.needs[row] != NEVER and (blocks or report.needs[row] <= cutoff)]
    cut = [] if blocks else [row for row in taken if report.lengths[row] > cutoff]
    masked = [row for row in taken if report.needs[row] == NEVER]
    dropped = [] if blocks else [row for row in taken if report.needs[row] > cutoff]
    train = _train_part(config, taken)
    lengths = [_at(report.lengths[row], limit) for row in kept if row in train]
    units, fill = _units(lengths, config)
    tokens = sum(_at(report.lengths[row], limit) for row in kept)
    return Account(
        rows=len(taken),
        cut=len(cut),
        dropped=len(dropped),
        masked=len(masked),
        kept=len(kept),
        tokens=tokens,
        trained=tokens - _block_count(tokens, cutoff) if blocks else report.trained(limit),
        held=len(taken) - len(train),
        units=units,
        fill=fill,
        steps=_steps(units, config),
        which={
            name: [report.places[row] for row in rows[:NAMED_ROWS]]
            for name, rows in (("cut", cut), ("dropped", dropped), ("masked", masked))
        },
    )


def packed_rows(report: TokenReport, config: TrainConfig) -> list[list[int]]:
    """For each packed row the places of the rows in it, as the trainer packs them. Plain text runs on, so has none."""
    cutoff = config.data.cutoff_len
    train = _train_part(config, range(len(report.lengths)))
    kept = [row for row, need in enumerate(report.needs) if row in train and NEVER < need <= cutoff]
    groups = _packed(tuple(_at(report.lengths[row], cutoff) for row in kept), cutoff, config.data.tokenizing_processes)
    return [[report.places[kept[index]] for index in group] for group in groups]


def packs(config: TrainConfig) -> bool:
    """Whether the trainer packs conversations; plain text is cut into blocks instead."""
    return config.data.packing and not _plain(config)


def _plain(config: TrainConfig) -> bool:
    return config.stage.type == "pretrain"


def _blocks(config: TrainConfig) -> bool:
    return config.data.packing and _plain(config)


def _at(length: int, limit: int | None) -> int:
    return length if limit is None else min(length, limit)


def _train_part(config: TrainConfig, taken: range) -> range | frozenset[int]:
    if config.data.validation_datasets or not config.data.validation_size or len(taken) < 2:
        return taken
    return frozenset(split(taken, config.data.validation_size, config.seed)[0])


def _units(lengths: Sequence[int], config: TrainConfig) -> tuple[int, float]:
    """How many rows the trainer gets, and what share of their places is filled when all are as long as the cutoff."""
    cutoff, tokens = config.data.cutoff_len, sum(lengths)
    if _blocks(config):
        count = _block_count(tokens, cutoff)
    elif packs(config):
        count = len(_packed(tuple(lengths), cutoff, config.data.tokenizing_processes))
    else:
        count = len(lengths)
    return count, tokens / (count * cutoff) if count else 0.0


def _block_count(tokens: int, cutoff: int) -> int:
    """Blocks of running text; in a block of one token nothing can be predicted, so it is dropped."""
    full, rest = divmod(tokens, cutoff)
    return full + (rest > 1)


def _steps(units: int, config: TrainConfig) -> int:
    """Optimizer steps of one epoch on one device: ceil(ceil(rows / batch) / accumulation), as transformers counts."""
    batches = math.ceil(units / config.optimisation.per_device_train_batch_size)
    return math.ceil(batches / config.optimisation.gradient_accumulation_steps)


@lru_cache(maxsize=4)
def _packed(lengths: tuple[int, ...], cutoff: int, processes: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(group) for group in pack(lengths, cutoff, processes))
