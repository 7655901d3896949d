"""What every training stage says of itself, beside its settings."""

from __future__ import annotations

from typing import ClassVar

from studio.config.section import Section


class StageSection(Section):
    """A thing to train a model for. The class variables are facts about the stage, not settings."""

    kinds: ClassVar[frozenset[str]] = frozenset()
    """The kinds of rows that it learns from, by the names of studio.data.examples.Kind."""

    online: ClassVar[bool] = False
    """The model writes answers while it trains."""

    reference: ClassVar[bool] = False
    """The model is compared with how it was before the training."""
