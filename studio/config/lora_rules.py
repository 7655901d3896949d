"""Rules about LoRA and its relatives: patterns, starts, and bases that some variants cannot stand on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from studio.config.faults import Fault, hint
from studio.config.low_rank import Lora
from studio.config.targets import is_pattern, pattern_fault
from studio.config.train import TrainConfig

MOVES_THE_BASE = ("pissa", "pissa_niter_16", "olora")
HIGHEST = {"rank_pattern": 4096, "alpha_pattern": 16384}


def target_patterns_are_sound(config: TrainConfig) -> Iterator[Fault]:
    """A regular expression stands alone and can be read."""
    for key in ("target_modules", "feedforward_modules"):
        names = getattr(config.method, key, None)
        found = pattern_fault(names) if names else None
        if found is not None:
            name, reason = found
            code = "pattern_alone" if reason == "alone" else "bad_pattern"
            yield Fault(f"method.{key}", code, name, {"reason": reason})


def rank_patterns_are_whole_numbers(config: TrainConfig) -> Iterator[Fault]:
    """Ranks and alphas of single modules: keys that can be read, values that are whole numbers within bounds."""
    if not isinstance(config.method, Lora):
        return
    patterns: Mapping[str, Mapping[str, object]] = {
        "rank_pattern": config.method.rank_pattern,
        "alpha_pattern": config.method.alpha_pattern,
    }
    for key, entries in patterns.items():
        for name, value in entries.items():
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not 1 <= value <= HIGHEST[key]:
                yield Fault(f"method.{key}", "pattern_value", value, {"key": name, "limit": HIGHEST[key]})
            try:
                re.compile(name)
            except re.error as error:
                yield Fault(f"method.{key}", "bad_pattern", name, {"reason": str(error)})


def layers_are_numbers_of_layers(config: TrainConfig) -> Iterator[Fault]:
    """Layers are counted from 0; an expression for whole names says itself which layers it means."""
    method = config.method
    if not isinstance(method, Lora) or not method.layers:
        return
    if min(method.layers) < 0:
        yield Fault("method.layers", "layer_negative", min(method.layers))
    if isinstance(method.target_modules, list) and any(map(is_pattern, method.target_modules)):
        yield Fault("method.layers", "layers_in_pattern")


def start_is_possible(config: TrainConfig) -> Iterator[Fault]:
    """Some starts need whole weights, quantized ones, an even rank, or rows as they are trained on."""
    method, bits, path = config.method, config.quantization.type, "method.start"
    if not isinstance(method, Lora):
        return
    if method.start in (*MOVES_THE_BASE, "orthogonal") and bits != "none":
        yield Fault(path, "start_needs_whole_weights", method.start, {"bits": bits})
    if method.start == "loftq" and bits != "4bit":
        yield Fault(path, "loftq_needs_4bit")
    if method.start == "eva" and config.stage.type not in ("sft", "pretrain"):
        yield Fault(path, "eva_stage", details={"stage": config.stage.type})
    ranks = [method.rank, *(value for value in method.rank_pattern.values() if isinstance(value, int))]
    odd = next((rank for rank in ranks if rank % 2), None)
    if method.start == "orthogonal" and odd is not None:
        yield Fault("method.rank", "orthogonal_odd", odd)


def start_has_a_use(config: TrainConfig) -> Iterator[Fault]:
    """An adapter that is continued has begun already."""
    method = config.method
    continued = bool(config.model.adapters) and not getattr(method, "create_new_adapter", False)
    if isinstance(method, Lora) and method.start != "default" and continued:
        yield hint("method.start", "start_unused", method.start)
    if getattr(method, "create_new_adapter", False) and not config.model.adapters:
        yield hint("method.create_new_adapter", "new_adapter_unused")


def new_adapter_has_whole_weights(config: TrainConfig) -> Iterator[Fault]:
    """Merging adapters into quantized weights would round them."""
    merged = config.merged_adapters
    if merged and config.quantization.type != "none":
        yield Fault("model.adapters", "merge_into_quantized", details={"bits": config.quantization.type})


def dora_is_possible(config: TrainConfig) -> Iterator[Fault]:
    """DoRA measures the columns anew at each step, which works in plain weights, nf4, fp4 and HQQ. With bitsandbytes'
    8-bit weights peft 0.21 loses their scales after the first step."""
    method, bits = config.method, config.quantization.type
    if not isinstance(method, Lora) or not method.dora:
        return
    if bits not in ("none", "4bit", "hqq"):
        yield Fault("method.dora", "dora_quantized", details={"bits": bits})
    if method.freeze_a:
        yield Fault("method.freeze_a", "freeze_a_dora")


def biases_leave_the_reference_alone(config: TrainConfig) -> Iterator[Fault]:
    """Biases are trained in place, so that the base is not what it was when the adapter is switched off."""
    method = config.method
    if isinstance(method, Lora) and method.bias != "none" and config.stage.reference:
        yield Fault("method.bias", "bias_reference", details={"stage": config.stage.type})


RULES = (
    target_patterns_are_sound,
    rank_patterns_are_whole_numbers,
    layers_are_numbers_of_layers,
    start_is_possible,
    start_has_a_use,
    new_adapter_has_whole_weights,
    dora_is_possible,
    biases_leave_the_reference_alone,
)
