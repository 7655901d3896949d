"""A chat template compiled once: what `apply_chat_template` does, without what it prepares anew for every call."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

Turns = list[dict[str, Any]]
Plain = frozenset(("role", "content"))


def render(tokenizer: Any, template: str, turns: Turns, tools: Turns | None, prompt: bool) -> str:
    """The text that the template makes of the turns, with `prompt` up to where an answer begins.

    Raises what jinja raises when the template refuses them. Turns of nothing but a role and words, which are nearly
    all, need none of the preparations that transformers makes for pictures, tools and thoughts.
    """
    if turns and tools is None and all(turn.keys() == Plain for turn in turns):
        return _compiled(tokenizer, template)(messages=turns, add_generation_prompt=prompt)
    return tokenizer.apply_chat_template(
        turns, tools=tools, chat_template=template, tokenize=False, add_generation_prompt=prompt
    )


@lru_cache(maxsize=8)
def _compiled(tokenizer: Any, template: str) -> Callable[..., str]:
    from transformers.utils import chat_template_utils

    # transformers' own sandbox, with the functions that it gives to templates. A test holds it against the public way.
    compiled = chat_template_utils._compile_jinja_template(template)
    specials = {"tools": None, "documents": None, **tokenizer.special_tokens_map}

    def render(**words: Any) -> str:
        return compiled.render(specials, **words)

    return render
