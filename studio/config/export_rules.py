"""Rules across the settings of an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from studio.config.export import Adapter, ExportConfig, Gptq
from studio.config.faults import Fault, hint

Rule = Callable[[ExportConfig], Iterator[Fault]]


def something_is_chosen(config: ExportConfig) -> Iterator[Fault]:
    """An export starts from a run or from a model, and never from both."""
    if config.subject.run is None and config.subject.base is None:
        yield Fault("subject.run", "nothing_to_export")
    if config.subject.run is not None and config.subject.base is not None:
        yield Fault("subject.base", "run_and_model")


def an_adapter_is_one(config: ExportConfig) -> Iterator[Fault]:
    """The adapter alone is one adapter: several in order can only be merged."""
    if isinstance(config.format, Adapter):
        count = len(config.subject.adapters) + (config.subject.run is not None)
        if count != 1:
            yield Fault("format.type", "one_adapter", details={"count": count})


def few_bits_lose_much(config: ExportConfig) -> Iterator[Fault]:
    """At 2 and 3 bits the loss is no matter of taste any more."""
    if isinstance(config.format, Gptq) and config.format.bits in ("2", "3"):
        yield hint("format.bits", "few_bits", config.format.bits)


RULES: tuple[Rule, ...] = (something_is_chosen, an_adapter_is_one, few_bits_lose_much)
