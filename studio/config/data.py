"""Which rows are trained on and evaluated on, and how long they may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from studio.config.section import Advanced, Choices, Section


class DataConfig(Section):
    """Datasets by their names in dataset_info.json."""

    datasets: Annotated[list[str], Choices("datasets", free=False)] = Field(default=[])
    """Datasets to train on, by their names in dataset_info.json."""

    cutoff_len: int = Field(title="Cutoff length", default=1024, ge=4, le=1_048_576)
    """Longest row in tokens; what lies beyond is cut off and counted."""

    validation_size: float = Field(title="Validation rows", default=0.0, ge=0, le=1_000_000)
    """Rows held back for evaluation: a share below 1, or a number of rows."""

    validation_datasets: Annotated[list[str], Choices("datasets", free=False), Advanced()] = Field(default=[])
    """Datasets to evaluate on, in place of held-back rows."""

    max_samples: Annotated[int | None, Advanced()] = Field(default=None, ge=1)
    """Most rows to take of each dataset; empty takes all."""

    packing: Annotated[bool, Advanced()] = False
    """Fill rows up to the cutoff with several short ones; conversations do not see each other, plain text runs on."""

    tokenizing_processes: Annotated[int, Advanced()] = Field(default=1, ge=1, le=64)
    """Processes that turn text into tokens."""
