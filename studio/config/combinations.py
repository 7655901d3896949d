"""Which stage, method and quantization go together, and why the others do not: one line for each refusal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from studio.config.faults import Fault


@dataclass(frozen=True)
class Refusal:
    """Combinations that cannot work. An empty set stands for all. `path` is the field to change, `code` the sentence
    in faults.MESSAGES, which may use {stage}, {method} and {bits}."""

    path: str
    code: str
    stages: frozenset[str] = field(default_factory=frozenset[str])
    methods: frozenset[str] = field(default_factory=frozenset[str])
    quantizations: frozenset[str] = field(default_factory=frozenset[str])

    def applies(self, stage: str, method: str, quantization: str) -> bool:
        """Whether this combination is among them."""
        pairs = ((self.stages, stage), (self.methods, method), (self.quantizations, quantization))
        return all(not group or value in group for group, value in pairs)


_NOT_PLAIN_TEXT = frozenset({"reward", "dpo", "kto", "orpo", "simpo", "ppo", "grpo", "rloo"})

_SOFT_PROMPTS = frozenset({"prompt-tuning", "prefix-tuning", "p-tuning"})

REFUSALS: tuple[Refusal, ...] = (
    # peft drops the positions that padded prompts need, so answers would be learnt from at other places than written.
    Refusal("method.type", "online_soft_prompt", stages=frozenset({"ppo", "grpo", "rloo"}), methods=_SOFT_PROMPTS),
    Refusal("method.type", "longlora_stage", stages=_NOT_PLAIN_TEXT, methods=frozenset({"longlora"})),
    Refusal("method.type", "routed_stage", stages=_NOT_PLAIN_TEXT, methods=frozenset({"mixture-of-depths"})),
)


def refused(stage: Any, method: Any, quantization: Any) -> Iterator[Fault]:
    """Every reason why these three sections of a config do not go together."""
    names = {"stage": stage.type, "method": method.type, "bits": quantization.type}
    if quantization.type != "none" and quantization.type not in method.quantized_bases:
        code = "quantized_needs_lora" if method.adapter else "quantized_needs_adapter"
        yield Fault("quantization.type", code, details=names)
    for refusal in REFUSALS:
        if refusal.applies(stage.type, method.type, quantization.type):
            yield Fault(refusal.path, refusal.code, details=names)
