"""Rules of the training methods: what their settings need of each other, and which learning rates suit them."""

from __future__ import annotations

from collections.abc import Iterator

from studio.config.faults import Fault, hint
from studio.config.low_rank import AdaLora
from studio.config.soft_prompts import SoftPrompt
from studio.config.stage import Pretrain, Sft
from studio.config.train import TrainConfig

# So far beyond the usual rates a run most often diverges, or learns next to nothing.
FAR_ABOVE = 2
FAR_BELOW = 10


def learning_rate_is_usual(config: TrainConfig) -> Iterator[Fault]:
    """What is a careful rate for one method destroys the model with another, or does nothing at all with a third."""
    rate, (low, high) = config.optimisation.learning_rate, config.method.usual_rates
    details = {"method": config.method.type, "low": f"{low:g}", "high": f"{high:g}"}
    if rate > FAR_ABOVE * high:
        yield hint("optimisation.learning_rate", "rate_high", f"{rate:g}", **details)
    # Preferences and rewards are learned at far lower rates than answers.
    elif rate < low / FAR_BELOW and isinstance(config.stage, (Sft, Pretrain)):
        yield hint("optimisation.learning_rate", "rate_low", f"{rate:g}", **details)


def activations_are_computed_once(config: TrainConfig) -> Iterator[Fault]:
    """Trained keys and values lie in the cache, which is filled once and cannot be filled a second time."""
    if not config.method.recomputes and config.optimisation.gradient_checkpointing == "on":
        yield Fault("optimisation.gradient_checkpointing", "checkpointing_refused", details=_method(config))


def soft_prompts_stand_before_each_row(config: TrainConfig) -> Iterator[Fault]:
    """The vectors stand once in front of the input: only the first of several packed conversations would see them."""
    if isinstance(config.method, SoftPrompt) and isinstance(config.stage, Sft) and config.data.packing:
        yield Fault("data.packing", "soft_prompt_packing", details=_method(config))


def soft_prompts_are_not_continued(config: TrainConfig) -> Iterator[Fault]:
    """peft saves what their networks have made, not the networks, and can attach no second one."""
    if isinstance(config.method, SoftPrompt) and config.model.adapters:
        yield Fault("model.adapters", "soft_prompt_continued", details=_method(config))


def ranks_can_be_cut(config: TrainConfig) -> Iterator[Fault]:
    """AdaLoRA goes from a higher rank down to a lower one, in the steps between its two shares."""
    method = config.method
    if not isinstance(method, AdaLora):
        return
    if method.target_rank > method.initial_rank:
        details = {"initial": method.initial_rank}
        yield Fault("method.target_rank", "target_rank_above", method.target_rank, details)
    if method.warmup_share + method.final_share >= 1:
        yield Fault("method.final_share", "no_share_left", method.final_share, {"warmup": method.warmup_share})


def _method(config: TrainConfig) -> dict[str, str]:
    return {"method": config.method.type}


RULES = (
    learning_rate_is_usual,
    activations_are_computed_once,
    soft_prompts_stand_before_each_row,
    soft_prompts_are_not_continued,
    ranks_can_be_cut,
)
