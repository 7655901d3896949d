"""The rotary positions of a model: as its config spells them, and as a run has stretched them (model.rope_scaling)."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from studio.runs.export_subject import Subject
from studio.tasks.model import stretch_positions


def rope_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the rotary positions, however the config spells them; of global layers where there are others."""
    found = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    found = dict(found.get("full_attention", found))
    found.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    found.setdefault("rope_type", found.get("type", "default"))
    return found


def is_stretched(subject: Subject) -> bool:
    """Whether the run has stretched the positions of its base, whose own config does not say so."""
    run = subject.run
    return run is not None and run.model.rope_scaling != "none" and subject.base == run.model.path


def trained_config(subject: Subject, config: Mapping[str, Any]) -> dict[str, Any]:
    """config.json of the model as it was trained: that of the base, stretched where the run stretched it.

    A fully trained run has it in its own config.json already. Raises TaskError for a model without such positions.
    """
    run = subject.run
    if run is None or not is_stretched(subject):
        return dict(config)
    known = SimpleNamespace(rope_parameters=rope_of(config), max_position_embeddings=config["max_position_embeddings"])
    stretch_positions(known, run.model.rope_scaling, run.model.rope_factor)
    rest = {key: value for key, value in config.items() if key not in ("rope_scaling", "rope_theta")}
    return {
        **rest,
        "rope_parameters": known.rope_parameters,
        "max_position_embeddings": known.max_position_embeddings,
    }
