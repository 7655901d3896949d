"""Which settings of a training run decide what the model sees of a dataset, and a config for looking at one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.config.io import override, parse, spell
from studio.config.leaves import Leaf, applies, leaves
from studio.config.train import TrainConfig

CUTOFF = "data.cutoff_len"
MODEL = "model.path"

NO_DATASET = "-"  # a run must name a dataset, a template depends on none

# The first ones are asked for in sight, the others are folded away.
TEMPLATE = (MODEL, "model.chat_template")
BASIC = (*TEMPLATE, CUTOFF, "stage.type")
FURTHER = (
    "stage.train_on_prompt",
    "stage.mask_history",
    "data.packing",
    "data.max_samples",
    "data.validation_size",
    "optimisation.per_device_train_batch_size",
    "optimisation.gradient_accumulation_steps",
)


def token_config(tree: Mapping[str, Any], changes: Mapping[str, Any], dataset: str | None = None) -> TrainConfig:
    """The config in `tree` with `changes` by path laid over it, training on `dataset` alone where one is named.

    Without one, as for a look at a template, none need be chosen. Raises ConfigError.
    """
    assignments = [f"{path}={spell(value)}" for path, value in changes.items()]
    if dataset is not None:
        assignments += [f"data.datasets={spell([dataset])}", "data.validation_datasets=[]"]
    made = override(tree, assignments)
    if dataset is None:
        made.setdefault("data", {}).setdefault("datasets", [NO_DATASET])
    return parse(made)


def chosen_datasets(config: TrainConfig) -> list[str]:
    """The datasets that the config trains on, as far as somebody chose them."""
    return [name for name in config.data.datasets if name != NO_DATASET]


def token_leaves(config: TrainConfig) -> list[Leaf]:
    """Those of the settings that exist under the types that the config chose, in the order above."""
    known = {leaf.path: leaf for leaf in leaves(TrainConfig) if applies(config, leaf)}
    return [known[path] for path in (*BASIC, *FURTHER) if path in known]
