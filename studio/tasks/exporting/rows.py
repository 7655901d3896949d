"""Rows of datasets on which exports are calibrated and measured: as messages or text, then as token ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from studio.data.examples import Example

Row = dict[str, Any]


def as_row(example: Example) -> Row | None:
    """An example as a row; None for one that is no text and no conversation."""
    if example.text is not None:
        return {"text": example.text}
    if example.kind != "chat":
        return None
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in example.messages]}


def token_rows(tokenizer: Any, template: str, rows: Iterable[Mapping[str, Any]], length: int) -> list[list[int]]:
    """At most `length` ids of each row, conversations by the chat template.

    Conversations that the template refuses are left out, as some know no system message; so are all of them where there
    is no template.
    """
    found: list[list[int]] = []
    for row in rows:
        text = row["text"] if "text" in row else rendered(tokenizer, template, row["messages"], prompt=False)
        ids = tokenizer(text, add_special_tokens="text" in row)["input_ids"] if text else []
        if ids:
            found.append(ids[:length])
    return found


def measured_rows(tokenizer: Any, template: str, rows: Iterable[Mapping[str, Any]], length: int) -> list[Row]:
    """Rows as `ids` and the index `start` from which they count: of a conversation its last answer alone, of a text all
    but its first token. Rows that the template refuses or of whose answer nothing is left are left out.
    """
    found: list[Row] = []
    for row in rows:
        messages = row.get("messages")
        ids, start = token_rows(tokenizer, template, [row], length), 1
        if messages is not None:
            before = rendered(tokenizer, template, messages[:-1], prompt=True)
            start = len(tokenizer(before, add_special_tokens=False)["input_ids"]) if before else length
        if ids and start < len(ids[0]):
            found.append({"ids": ids[0], "start": max(1, start)})
    return found


def rendered(tokenizer: Any, template: str, messages: list[dict[str, str]], *, prompt: bool) -> str | None:
    """A conversation as text, with the beginning of an answer if `prompt`; None when the template refuses it."""
    from jinja2 import TemplateError

    if not template:
        return None
    try:
        return tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=prompt
        )
    except TemplateError:
        return None
