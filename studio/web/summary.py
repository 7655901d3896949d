"""What a config amounts to, said before it runs: one sentence, faults and hints, the command, the file."""

from __future__ import annotations

import html
import os
import shlex
from collections.abc import Mapping, Sequence

from studio.config.faults import Fault
from studio.config.io import command_of
from studio.config.jobs import JobConfig
from studio.config.kinds import KINDS, all_leaves, kind_of
from studio.config.outline import Outline, outline
from studio.config.train import TrainConfig
from studio.runs.environment import SECRET_NAMES
from studio.web.words import fault_messages, say

# Variables that a user may have set and that change where a run looks for models.
_TOLD = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HOME", "MODELSCOPE_DOMAIN", "OMP_NUM_THREADS")


# What is only not chosen yet: said quietly in the summary, not in red at the field.
TO_DO = frozenset({"missing", "no_datasets", "no_questions", "nothing_to_export"})


def sentence(language: str, config: TrainConfig, rows: int | None) -> str:
    """What will run, in one line: method, model, rows and steps."""
    facts = outline(config, rows)
    method = say(language, f"fields.method.type.options.{facts.method}")
    if facts.figure is not None:
        key, value = facts.figure
        method = f"{method} {say(language, f'fields.{key}.label').lower()} {value}"
    quantized = facts.quantization != "none"
    key = "page.form.sentence_quantized" if quantized else "page.form.sentence"
    parts = [
        say(language, key, method=method, model=facts.model, bits=facts.quantization),
        say(language, "page.form.batch", batch=facts.rows_a_step),
    ]
    if rows is not None:
        parts.append(_amount(language, facts, rows))
    return ", ".join(parts)


def _amount(language: str, facts: Outline, rows: int) -> str:
    """Rows and steps; how many rows packing makes is known only after tokenizing."""
    if facts.steps is None:
        return say(language, "page.form.rows_only", rows=f"{rows:,}")
    key = "page.form.steps_exact" if facts.steps_are_exact else "page.form.steps"
    return say(language, key, rows=f"{rows:,}", steps=f"{facts.steps:,}")


def command_text(config: JobConfig, environment: Mapping[str, str] | None = None) -> str:
    """The command as a shell takes it, one setting a line; secrets stand as names, never as values."""
    given = os.environ if environment is None else environment
    words = [shlex.quote(word) for word in command_of(config)]
    told = [f"{name}={shlex.quote(given[name])}" for name in _TOLD if given.get(name)]
    told += [f'{name}="${name}"' for name in sorted(SECRET_NAMES) if given.get(name)]
    own = 1 + len(KINDS[kind_of(config)].command)
    return " \\\n    ".join([" ".join([*told, *words[:own]]), *words[own:]])


def notices(language: str, faults: Sequence[Fault]) -> str:
    """Faults and hints as a list for the page: what blocks comes first."""
    messages = fault_messages(language)
    rows: list[str] = []
    for fault in sorted(faults, key=lambda one: one.severity != "fault"):
        label = _label(language, fault.path)
        text = html.escape(fault.sentence(messages))
        kind = "to-do" if fault.code in TO_DO else fault.severity
        rows.append(f'<li class="{kind}"><b>{html.escape(label)}</b> {text}</li>')
    return f'<ul class="notices">{"".join(rows)}</ul>' if rows else ""


def _label(language: str, path: str) -> str:
    bare = path.partition("[")[0]
    key = next((leaf.key for leaf in all_leaves().values() if leaf.path == bare), None)
    return say(language, f"fields.{key}.label") if key else path
