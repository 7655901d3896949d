"""What every training method says of itself, beside its settings."""

from __future__ import annotations

from typing import ClassVar

from studio.config.section import Section


class MethodSection(Section):
    """A way to train. The class variables are facts about the method, not settings."""

    adapter: ClassVar[bool] = False
    """The base stays as it is, and what is trained is saved beside it as a PEFT adapter."""

    merges: ClassVar[bool] = False
    """What was trained can be added into the weights of the base, exactly but for rounding."""

    quantized_bases: ClassVar[frozenset[str]] = frozenset()
    """The types of quantization whose frozen weights it can train beside."""

    usual_rates: ClassVar[tuple[float, float]] = (1e-6, 5e-5)
    """Learning rates between which its papers and libraries most often begin, with an optimizer such as AdamW."""

    recomputes: ClassVar[bool] = True
    """It bears gradient checkpointing: activations that are computed a second time in the backward pass."""
