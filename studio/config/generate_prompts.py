"""What the model is told when it writes data: the texts that a new config holds, and the placeholders in them."""

from __future__ import annotations

import re

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
"""A name in braces. JSON in a prompt is left alone, because its braces hold a quote or a space first."""

FROM_SEEDS = """Here are examples of tasks that a person gave to an assistant, each with a good answer:

{examples}

Think of new tasks of the same kind and quality, in the same language. Vary the subject, the wording and the \
difficulty. Do not repeat an example and do not only change its names and numbers."""

FROM_DOCUMENTS = """Here is a passage from {name}:

---
{text}
---

Rely on this passage alone and write in its language. Ask what a reader of it would want to know, in such a way that \
somebody who does not see the passage understands the question. Do not mention passage, document or author."""

QUESTION_ANSWER = """Write {count} rows. Each has a question or task and a correct, complete answer in plain words.

Answer with JSON and nothing else, in this form:
{"rows": [{"question": "...", "answer": "..."}]}"""

DIALOGUE = """Write {count} conversations between a person and a helpful assistant. In each the person speaks {turns} \
times and the assistant answers every time; what is asked later builds on what was said before.

Answer with JSON and nothing else, in this form:
{"rows": [{"turns": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}]}"""

PREFERENCE = """Write {count} rows. Each has a question or task and two answers to it. The chosen one is correct, \
complete and clear. The rejected one is what a hurried assistant could write: of similar length and tone, but with a \
mistake in it, or with something important left out.

Answer with JSON and nothing else, in this form:
{"rows": [{"question": "...", "chosen": "...", "rejected": "..."}]}"""

NEEDED: dict[str, frozenset[str]] = {
    "source.seeds.prompt": frozenset({"examples"}),
    "source.documents.prompt": frozenset({"text"}),
    "target.question_answer.prompt": frozenset({"count"}),
    "target.dialogue.prompt": frozenset({"count"}),
    "target.preference.prompt": frozenset({"count"}),
}
"""By the key of a setting, the placeholders without which its prompt makes no sense."""

FURTHER: dict[str, frozenset[str]] = {
    "source.documents.prompt": frozenset({"name"}),
    "target.dialogue.prompt": frozenset({"turns"}),
}
"""Placeholders that a prompt may also have."""


def placeholders(text: str) -> list[str]:
    """The names in braces that `text` holds, in their order."""
    return PLACEHOLDER.findall(text)


def filled(text: str, values: dict[str, str]) -> str:
    """`text` with the placeholders that `values` names filled in; every other brace stays as it is."""
    return PLACEHOLDER.sub(lambda found: values.get(found.group(1), found.group(0)), text)
