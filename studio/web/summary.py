"""What a config amounts to, said before it runs: one sentence, the command, and which faults are only a to-do."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

from studio.config.faults import Fault
from studio.config.io import command_of
from studio.config.jobs import JobConfig
from studio.config.kinds import KINDS, kind_of
from studio.config.outline import Outline, outline
from studio.config.train import TrainConfig
from studio.runs.environment import SECRET_NAMES
from studio.web.words import say

# Variables that a user may have set and that change where a run looks for models.
_TOLD = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HOME", "MODELSCOPE_DOMAIN", "OMP_NUM_THREADS")


# What is only not chosen yet: said quietly in the summary, not in red at the field.
TO_DO = frozenset({"missing", "no_datasets", "no_questions", "nothing_to_export", "no_rewards"})


def sentence(language: str, config: TrainConfig, rows: int | None) -> str:
    """What will run, in one line: method, model, rows and steps."""
    facts = outline(config, rows)
    method = say(language, f"fields.method.type.options.{facts.method}")
    if facts.figure is not None:
        key, value = facts.figure
        method = f"{method} {say(language, f'fields.{key}.label').lower()} {value}"
    quantized = facts.quantization != "none"
    key = "page.form.sentence_quantized" if quantized else "page.form.sentence"
    bits = say(language, f"fields.quantization.type.options.{facts.quantization}")
    begin = say(language, key, method=method, model=facts.model, bits=bits)
    if facts.stage != type(config).model_fields["stage"].default.type:
        begin = f"{say(language, f'fields.stage.type.options.{facts.stage}')}: {begin}"
    parts = [
        begin,
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


def severity(fault: Fault) -> str:
    """fault, hint, or to-do for what is only not chosen yet."""
    return "to-do" if fault.code in TO_DO else fault.severity
