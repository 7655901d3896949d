"""The model that Studio ships: where it lies in a workspace once it was fetched, and how large it is."""

from __future__ import annotations

SHIPPED_MODEL = "models/SmolLM2-135M-Instruct"
SHIPPED_PARAMETERS = 0.135
"""In billions."""
