"""From the optimizer that a config names to what the trainer and tasks/optimizers.py take: pure."""

from __future__ import annotations

from typing import Any

from studio.config.low_rank import Lora
from studio.config.optimizers import ADAM, OPTIMIZERS
from studio.config.train import TrainConfig

Arguments = dict[str, Any]

_TRAINERS_OWN = {"beta1": "adam_beta1", "beta2": "adam_beta2", "epsilon": "adam_epsilon"}


def trainer_arguments(config: TrainConfig) -> Arguments:
    """What transformers takes: a name that it knows, its arguments as one text, and the modules that it projects."""
    chosen = config.optimisation
    found = OPTIMIZERS[chosen.optimizer]
    given = dict(chosen.optimizer_arguments)
    rest = {} if found.own else {key: value for key, value in given.items() if key not in ADAM}
    projects = found.targets and not found.own
    return {
        "optim": "adamw_torch" if found.own else chosen.optimizer,
        "optim_args": ",".join(f"{key}={value}" for key, value in rest.items()) or None,
        "optim_target_modules": (list(chosen.optimizer_target_modules) or "all-linear") if projects else None,
        **{_TRAINERS_OWN[key]: value for key, value in given.items() if key in ADAM},
    }


def optimizer_choice(config: TrainConfig) -> Arguments:
    """What `optimizers.own_optimizer` takes."""
    method = config.method if isinstance(config.method, Lora) else None
    return {
        "name": config.optimisation.optimizer,
        "arguments": dict(config.optimisation.optimizer_arguments),
        "targets": list(config.optimisation.optimizer_target_modules),
        "loraplus_ratio": method.loraplus_ratio if method else None,
        "freeze_a": bool(method and method.freeze_a),
    }
