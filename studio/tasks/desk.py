"""What the helper process keeps between two questions: the workspace and the tokenizers that were asked for last."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from studio.config.io import parse
from studio.config.shipped import SHIPPED_MODEL
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.tasks.arguments import Plan, plan
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine
from studio.tasks.model import find_model, load_tokenizer
from studio.tasks.templates import choose_template
from studio.tasks.tokenize import NO_CUTOFF, Settings

KEPT_TOKENIZERS = 3

# Only the tokenizing part of a plan is used here; this machine refuses no number format.
_ANY_MACHINE = Machine("cuda", bf16=True)


@dataclass(frozen=True)
class Opened:
    """A tokenizer as the trainer loads it. `source` is the model's folder or id, `digest` names its content."""

    tokenizer: Any
    source: str
    digest: str


@dataclass(frozen=True)
class Seen:
    """All on which it depends what the model sees of a row. `template` is the text, "" for plain text."""

    config: TrainConfig
    plan: Plan
    opened: Opened
    template: str
    settings: Settings

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the chosen model."""
        return self.opened.tokenizer

    @property
    def uncut(self) -> Settings:
        """The same settings without a cutoff, so that one look serves every cutoff. Of judged rows the last answer is
        learnt from."""
        last = self.settings.mask_history or self.settings.form != "labels"
        return replace(self.settings, cutoff_len=NO_CUTOFF, mask_history=last)


@dataclass
class Desk:
    """One for each process; not for several threads."""

    workspace: Workspace
    _tokenizers: dict[tuple[str, ...], Opened] = field(default_factory=dict[tuple[str, ...], Opened])

    def seen(self, tree: Mapping[str, Any]) -> Seen:
        """What the config `tree` of a training run makes of rows. Raises ConfigError, TaskError and OSError."""
        config = parse(tree)
        todo = plan(config, _ANY_MACHINE, Path(config.name or "run"))
        opened = self._open(todo.model)
        settings = Settings(**todo.tokenize)
        template = "" if settings.plain_text else choose_template(todo.model["template"], opened.tokenizer)
        return Seen(config, todo, opened, template, settings)

    def _open(self, arguments: Mapping[str, Any]) -> Opened:
        path, revision = str(arguments["path"]), str(arguments["revision"])
        if path == SHIPPED_MODEL and not self.workspace.resolve(path).exists():
            raise TaskError(
                "model",
                f"The shipped model is not in {SHIPPED_MODEL} yet.",
                "The first run fetches it; or fetch it now with: python -m studio.tasks.shipped .",
            )
        source = find_model(path, self.workspace, arguments["hub"], arguments["revision"])
        key = (
            source,
            revision,
            str(arguments["trust_remote_code"]),
            *arguments["new_tokens"],
            *_versions(Path(source)),
        )
        opened = self._tokenizers.pop(key, None)
        if opened is None:
            tokenizer = load_tokenizer(source, dict(arguments))
            opened = Opened(tokenizer, source, _digest(tokenizer))
        self._tokenizers[key] = opened  # the last one used stands last
        for old in list(self._tokenizers)[:-KEPT_TOKENIZERS]:
            del self._tokenizers[old]
        return opened


def _versions(folder: Path) -> list[str]:
    """When the files of a local tokenizer were changed, so that a mended one is loaded anew."""
    if not folder.is_dir():
        return []
    files = sorted([*folder.glob("*token*"), *folder.glob("*.jinja")])
    return [f"{file.name}:{file.stat().st_mtime_ns}" for file in files]


def _digest(tokenizer: Any) -> str:
    """A name for what the tokenizer does with a text."""
    facts = (tokenizer.backend_tokenizer.to_str(), tokenizer.eos_token, tokenizer.bos_token)
    return hashlib.sha256("\x00".join(map(str, facts)).encode()).hexdigest()[:16]
