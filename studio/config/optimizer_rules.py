"""Rules about optimizers and schedules: names and arguments that exist, and what does not go together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from studio.config.faults import Fault, hint
from studio.config.low_rank import Lora
from studio.config.optimizers import OPTIMIZERS, Value
from studio.config.train import TrainConfig

PLAIN_ADAMW = ("adamw_torch", "adamw_torch_fused")


@dataclass(frozen=True)
class Schedule:
    """What a schedule takes: `needed` are groups of names of which exactly one must be given."""

    arguments: Mapping[str, Value] = field(default_factory=dict[str, Value])
    needed: tuple[tuple[str, ...], ...] = ()


_MINIMUM = ("min_lr_rate", "min_lr")
SCHEDULES: Mapping[str, Schedule] = {
    "linear": Schedule(),
    "cosine": Schedule({"num_cycles": 0.5}),
    "cosine_with_restarts": Schedule({"num_cycles": 1}),
    "polynomial": Schedule({"lr_end": 1e-7, "power": 1.0}),
    "constant": Schedule(),
    "constant_with_warmup": Schedule(),
    "inverse_sqrt": Schedule({"timescale": 10_000}),
    "reduce_lr_on_plateau": Schedule(
        {"factor": 0.1, "patience": 10, "threshold": 1e-4, "threshold_mode": "rel", "cooldown": 0, "min_lr": 0.0,
         "eps": 1e-8, "mode": "min"}
    ),
    "cosine_with_min_lr": Schedule({"min_lr_rate": 0.1, "min_lr": 1e-5, "num_cycles": 0.5}, (_MINIMUM,)),
    "cosine_warmup_with_min_lr": Schedule(
        {"min_lr_rate": 0.1, "min_lr": 1e-5, "num_cycles": 0.5, "warmup_lr_rate": 0.1}, (_MINIMUM,)
    ),
    "warmup_stable_decay": Schedule(
        {"num_decay_steps": 100, "num_stable_steps": 1000, "warmup_type": "linear", "decay_type": "cosine",
         "min_lr_ratio": 0.0, "num_cycles": 0.5},
        (("num_decay_steps",),),
    ),
}  # fmt: skip


def optimizer_is_known(config: TrainConfig) -> Iterator[Fault]:
    """The name is one of the table, and so are the arguments."""
    chosen = config.optimisation
    path, name = "optimisation.optimizer", chosen.optimizer
    found = OPTIMIZERS.get(name)
    if found is None:
        yield _unknown(path, "optimizer", name, OPTIMIZERS)
        return
    yield from _arguments("optimisation.optimizer_arguments", name, chosen.optimizer_arguments, found.arguments)


def schedule_has_its_arguments(config: TrainConfig) -> Iterator[Fault]:
    """The arguments are those of the schedule, and those without a default are there."""
    chosen = config.optimisation
    path, name, given = "optimisation.lr_scheduler_kwargs", chosen.lr_scheduler_type, chosen.lr_scheduler_kwargs
    schedule = SCHEDULES[name]
    yield from _arguments(path, name, given, schedule.arguments)
    for group in schedule.needed:
        present = [key for key in group if key in given]
        if len(present) != 1:
            example = f"{{{group[0]}: {schedule.arguments[group[0]]}}}"
            details = {"name": name, "names": " or ".join(group), "example": example}
            yield Fault(path, "schedule_needs_one", details=details)


def optimizer_fits_the_method(config: TrainConfig) -> Iterator[Fault]:
    """Some optimizers only make sense for whole weights, some settings of LoRA are optimizers of their own."""
    chosen, method = config.optimisation, config.method
    found, path = OPTIMIZERS.get(chosen.optimizer), "optimisation.optimizer"
    if found is None:
        return
    details = {"name": chosen.optimizer}
    if found.whole and method.adapter:
        yield Fault(path, "optimizer_for_whole_weights", details=details)
    if isinstance(method, Lora) and method.loraplus_ratio is not None and not found.plain:
        yield Fault("method.loraplus_ratio", "loraplus_optimizer", details=details)
    if isinstance(method, Lora) and method.freeze_a and chosen.optimizer not in PLAIN_ADAMW:
        yield Fault("method.freeze_a", "freeze_a_optimizer", details=details)
    if isinstance(method, Lora) and method.freeze_a and method.loraplus_ratio is not None:
        yield Fault("method.loraplus_ratio", "loraplus_frozen")


def layerwise_moves_at_once(config: TrainConfig) -> Iterator[Fault]:
    """Where weights move within the backward pass there are no gradients to add up, to shorten or to scale."""
    chosen = config.optimisation
    found = OPTIMIZERS.get(chosen.optimizer)
    if found is None or not found.layerwise:
        return
    details = {"name": chosen.optimizer}
    if chosen.gradient_accumulation_steps > 1:
        yield Fault("optimisation.gradient_accumulation_steps", "layerwise_accumulation", details=details)
    if chosen.precision == "fp16":
        yield Fault("optimisation.precision", "layerwise_fp16", details=details)


def target_modules_have_a_use(config: TrainConfig) -> Iterator[Fault]:
    """A list that nothing reads must not look as if it did something."""
    chosen = config.optimisation
    found = OPTIMIZERS.get(chosen.optimizer)
    if chosen.optimizer_target_modules and found is not None and not found.targets:
        names = ", ".join(name for name, entry in OPTIMIZERS.items() if entry.targets and not entry.layerwise)
        details = {"name": chosen.optimizer, "names": names}
        yield Fault("optimisation.optimizer_target_modules", "optimizer_targets_unused", details=details)


def resume_is_exact(config: TrainConfig) -> Iterator[Fault]:
    """Where a resumed run differs from one that was never stopped, that is said before."""
    found = OPTIMIZERS.get(config.optimisation.optimizer)
    if found is not None and not found.exact:
        yield hint("optimisation.optimizer", "optimizer_not_exact", name=config.optimisation.optimizer)


def tf32_is_meant_for_float32(config: TrainConfig) -> Iterator[Fault]:
    """TF32 is how NVIDIA GPUs multiply float32 faster; a CPU has none."""
    if config.optimisation.tf32 and config.devices.use == "cpu":
        yield Fault("optimisation.tf32", "tf32_on_cpu")


RULES = (
    optimizer_is_known,
    schedule_has_its_arguments,
    optimizer_fits_the_method,
    layerwise_moves_at_once,
    target_modules_have_a_use,
    resume_is_exact,
    tf32_is_meant_for_float32,
)


def _arguments(path: str, owner: str, given: Mapping[str, object], known: Mapping[str, Value]) -> Iterator[Fault]:
    for key, value in given.items():
        if key not in known:
            yield _unknown(path, owner, key, known)
        elif not _is_like(value, known[key]):
            yield Fault(path, "argument_kind", value, {"key": key, "kind": _kind(known[key])})


def _kind(default: Value) -> str:
    if isinstance(default, bool):
        return "true or false"
    return "a word" if isinstance(default, str) else "a number"


def _is_like(value: object, default: Value) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, str):
        return isinstance(value, str) and "," not in value and "=" not in value
    return isinstance(value, int | float)


def _unknown(path: str, owner: str, name: str, known: Iterable[str]) -> Fault:
    """No such name: with one that is near, or with all of them."""
    choices = list(known)
    near = difflib.get_close_matches(name, choices, n=1)
    details = {"owner": owner, "choices": ", ".join(choices) or "none", **({"near": near[0]} if near else {})}
    code = "name_unknown" if owner == "optimizer" else "argument_unknown"
    return Fault(path, f"{code}_near" if near else code, name, details)
