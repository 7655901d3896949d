"""Which stage, method and quantization go together, as tables of the settings page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from studio.config.combinations import refused
from studio.config.method import Method
from studio.config.quantization import NoQuantization, Quantization
from studio.config.stage import Sft, Stage

YES, NO = "✓", "–"


def members(union: Any) -> list[Any]:
    """One value of each class of a union of sections, with its default settings."""
    return [member() for member in get_args(get_args(union)[0])]


def tables() -> Iterator[str]:
    """Methods beside stages on plain weights, then methods beside quantized weights, as Markdown lines."""
    stages, methods, quantizations = members(Stage), members(Method), members(Quantization)
    yield "Methods and stages, on plain weights:"
    yield ""
    yield from _table(stages, ((method, stage, NoQuantization()) for method in methods for stage in stages))
    yield ""
    yield "Methods and quantized weights, in supervised fine-tuning:"
    yield ""
    yield from _table(quantizations, ((method, Sft(), bits) for method in methods for bits in quantizations))


def _table(columns: list[Any], cells: Iterable[tuple[Any, Any, Any]]) -> Iterator[str]:
    yield "| method | " + " | ".join(column.type for column in columns) + " |"
    yield "|---|" + "---|" * len(columns)
    row: list[str] = []
    for method, stage, quantization in cells:
        row.append(NO if any(refused(stage, method, quantization)) else YES)
        if len(row) == len(columns):
            yield f"| `{method.type}` | " + " | ".join(row) + " |"
            row = []
