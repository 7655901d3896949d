"""How often a run logs, saves, evaluates, and shows an answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from studio.config.section import Advanced, Section


class CadenceConfig(Section):
    """When things happen while a run trains. All numbers are steps."""

    logging_steps: Annotated[int, Advanced()] = Field(title="Log every (steps)", default=1, ge=1, le=1_000_000)
    """Steps between two points of the loss curve."""

    save_steps: Annotated[int, Advanced()] = Field(title="Save every (steps)", default=100, ge=0, le=10_000_000)
    """Steps between two checkpoints; 0 saves at the end only."""

    save_total_limit: Annotated[int | None, Advanced()] = Field(title="Checkpoints to keep", default=3, ge=1, le=10_000)
    """Most checkpoints to keep, the oldest go first; empty keeps all."""

    eval_steps: Annotated[int, Advanced()] = Field(title="Evaluate every (steps)", default=100, ge=0, le=10_000_000)
    """Steps between two evaluations of the validation rows; 0 never evaluates."""

    per_device_eval_batch_size: Annotated[int, Advanced()] = Field(
        title="Evaluation batch size", default=4, ge=1, le=65_536
    )
    """Rows that one device evaluates at once."""

    load_best_model_at_end: Annotated[bool, Advanced()] = Field(title="End with the best checkpoint", default=False)
    """End with the checkpoint whose evaluation loss was lowest, and never delete it."""

    early_stopping_patience: Annotated[int, Advanced()] = Field(title="Stop early after", default=0, ge=0, le=10_000)
    """Stop when the evaluation loss has not improved so many times in a row; 0 never stops early."""

    early_stopping_threshold: Annotated[float, Advanced()] = Field(default=0.0, ge=0)
    """By how much the evaluation loss must fall to count as improved."""


class SamplesConfig(Section):
    """Questions that the model is asked before and after the training."""

    prompts: Annotated[list[str], Advanced()] = Field(default=[])
    """Questions to ask before the first step, at each evaluation and after the last step."""

    max_new_tokens: Annotated[int, Advanced()] = Field(default=64, ge=1, le=4096)
    """Longest answer in tokens."""
