"""Which chat template a run uses: the tokenizer's own, or one of the jinja files in templates/."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from studio.config.templates import TEMPLATE_NAMES
from studio.tasks.failures import TaskError

FOLDER = Path(__file__).parent / "templates"


def read_template(name: str) -> str:
    """The text of a shipped template. Raises TaskError for a name that is not shipped, naming those that are."""
    path = FOLDER / f"{name}.jinja"
    if name not in TEMPLATE_NAMES or not path.is_file():
        raise TaskError(
            "template",
            f"There is no chat template {name!r}.",
            f"Set model.chat_template to auto or one of: {', '.join(TEMPLATE_NAMES)}.",
        )
    return path.read_text(encoding="utf-8")


@cache
def tool_template_names() -> tuple[str, ...]:
    """The shipped templates that have a place for tools, calls and results."""
    return tuple(name for name in TEMPLATE_NAMES if "tool_calls" in read_template(name))


def choose_template(name: str, tokenizer: Any) -> str:
    """The template text for a tokenizer; `auto` means its own. Raises TaskError when it has none.

    A tokenizer may carry several templates by name; then its `default` is taken.
    """
    if name != "auto":
        return read_template(name)
    own = tokenizer.chat_template
    if isinstance(own, dict):
        own = own.get("default")
    if own:
        return own
    raise TaskError(
        "template",
        "The tokenizer brings no chat template, so conversations cannot be turned into text.",
        f"Set model.chat_template to the one that the model was trained with: {', '.join(TEMPLATE_NAMES)}.",
    )
