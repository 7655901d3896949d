"""The config of a probe: two steps of a training run, to see what it takes. It is that run's own config."""

from __future__ import annotations

from studio.config.cadence import SamplesConfig
from studio.config.devices import TrackersConfig
from studio.config.train import TrainConfig

STEPS = 2


class ProbeConfig(TrainConfig):
    """Everything that the training run depends on which is measured."""


def probe_of(config: TrainConfig) -> ProbeConfig:
    """The probe of a run: the same but for its length, and for all that is not training. It is named anew."""
    tree = config.model_dump()
    tree["name"] = None
    tree["optimisation"] |= {"max_steps": STEPS}
    tree["cadence"] |= {
        "logging_steps": 1, "save_steps": 0, "eval_steps": 0, "load_best_model_at_end": False,
        "early_stopping_patience": 0,
    }  # fmt: skip
    tree["samples"] = SamplesConfig().model_dump()
    tree["trackers"] = TrackersConfig(report_to=[]).model_dump()
    return ProbeConfig.model_validate(tree)


def weighing(config: TrainConfig) -> dict[str, object]:
    """The settings on which memory and speed of a step depend, and no others, so that a probe and its run agree."""
    tree = config.model_dump(mode="json")
    for section in ("name", "seed", "cadence", "samples", "trackers", "devices"):
        tree.pop(section)
    chosen = ("per_device_train_batch_size", "optimizer", "optimizer_arguments", "precision",
              "gradient_checkpointing", "torch_compile", "liger_kernel", "group_by_length")  # fmt: skip
    own = tree.pop("optimisation")
    data = tree.pop("data")
    return {
        **tree,
        "optimisation": {name: own.get(name) for name in chosen},
        "accumulates": own["gradient_accumulation_steps"] > 1,
        "threads": config.devices.cpu_threads,
        "data": {name: data[name] for name in ("datasets", "cutoff_len", "max_samples", "packing")},
    }
