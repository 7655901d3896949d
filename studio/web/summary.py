"""What a config amounts to, said before it runs: one sentence, faults and hints, the command, the file."""

from __future__ import annotations

import html
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from studio.config.faults import Fault
from studio.config.io import command_of
from studio.config.jobs import TrainConfig
from studio.config.leaves import leaves
from studio.runs.environment import SECRET_NAMES
from studio.web.words import fault_messages, say

# Variables that a user may have set and that change where a run looks for models.
_TOLD = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HOME", "MODELSCOPE_DOMAIN", "OMP_NUM_THREADS")


# What is only not chosen yet: said quietly in the summary, not in red at the field.
TO_DO = frozenset({"missing", "no_datasets"})


@dataclass(frozen=True)
class Rows:
    """Rows of the chosen datasets; None while one of them is unknown."""

    count: int | None


def sentence(language: str, config: TrainConfig, rows: Rows) -> str:
    """What will run, in one line: method, model, rows and steps."""
    method = say(language, f"fields.method.type.options.{config.method.type}")
    rank = getattr(config.method, "rank", None)
    method = f"{method} {say(language, 'fields.method.lora.rank.label').lower()} {rank}" if rank else method
    model = PurePosixPath(config.model.path.rstrip("/")).name
    bits = config.quantization.type
    key = "page.form.sentence" if bits == "none" else "page.form.sentence_quantized"
    parts = [say(language, key, method=method, model=model, bits=bits)]
    batch = config.optimisation.per_device_train_batch_size * config.optimisation.gradient_accumulation_steps
    parts.append(say(language, "page.form.batch", batch=batch))
    parts.append(_amount(language, config, rows, batch))
    return ", ".join(part for part in parts if part)


def _amount(language: str, config: TrainConfig, rows: Rows, batch: int) -> str:
    """Rows and steps; how many rows packing makes is known only after tokenizing."""
    if rows.count is None:
        return ""
    if config.optimisation.max_steps is not None:
        return say(language, "page.form.steps_exact", rows=f"{rows.count:,}", steps=config.optimisation.max_steps)
    if config.data.packing:
        return say(language, "page.form.rows_only", rows=f"{rows.count:,}")
    steps = expected_steps(config, rows.count, batch)
    return say(language, "page.form.steps", rows=f"{rows.count:,}", steps=f"{steps:,}")


def expected_steps(config: TrainConfig, rows: int, batch: int) -> int:
    """Optimizer steps of the run when no row is dropped: epochs × ceil(rows / batch), held-back rows left out."""
    size = config.data.validation_size
    held_back = math.ceil(rows * size) if size < 1 else min(rows, int(size))
    return max(1, math.ceil(config.optimisation.num_train_epochs * math.ceil(max(1, rows - held_back) / batch)))


def command_text(config: TrainConfig, environment: Mapping[str, str] | None = None) -> str:
    """The command as a shell takes it, one setting a line; secrets stand as names, never as values."""
    given = os.environ if environment is None else environment
    words = [shlex.quote(word) for word in command_of(config)]
    told = [f"{name}={shlex.quote(given[name])}" for name in _TOLD if given.get(name)]
    told += [f'{name}="${name}"' for name in SECRET_NAMES if given.get(name)]
    return " \\\n    ".join([" ".join([*told, *words[:2]]), *words[2:]])


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
    key = next((leaf.key for leaf in leaves(TrainConfig) if leaf.path == bare), None)
    return say(language, f"fields.{key}.label") if key else path
