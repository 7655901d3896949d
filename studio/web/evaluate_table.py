"""Results as plain data for the page: the list's line about them, and the whole table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from studio.runs.evaluation_results import ALL, Results


def table(found: Results) -> dict[str, Any]:
    """Everything in results.json; `sets` are the datasets as the page offers them, all of them together first."""
    tree = asdict(found)
    tree["sets"] = sets(found)
    tree["higher"] = dict(found.higher)
    return _finite(tree)


def sets(found: Results) -> list[str]:
    """The datasets, in front of them all together where there are several."""
    return [ALL, *found.datasets] if len(found.datasets) > 1 else list(found.datasets)


def main_score(found: Results) -> dict[str, Any] | None:
    """The first score in short: the best candidate's value, and whether it is beyond the first candidate's."""
    dataset, name = next(iter(sets(found)), ""), next(iter(found.names), "")
    best = found.score(found.best(dataset, name), dataset, name)
    if best is None:
        return None
    first = found.candidates[0]
    beyond = any(
        one.beyond and one.better == best.candidate and {one.first, one.second} == {first, best.candidate}
        for one in found.comparisons
        if (one.dataset, one.score) == (dataset, name)
    )
    base = found.score(first, dataset, name)
    values = {"value": best.value, "base": base.value if base else None}
    return _finite({"score": name, "candidate": best.candidate, "first": first, "beyond": beyond, **values})


def _finite(value: Any) -> Any:
    """The same with null for numbers that JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in cast("Sequence[Any]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value
