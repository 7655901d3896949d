"""Where things lie in a workspace, and the one test whether a path from outside may be touched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ALLOW_VARIABLE = "STUDIO_ALLOW"
"""Folders beside the workspace, as in PATH: --allow puts them here, so that every job finds what lies there."""


class OutsideWorkspace(ValueError):
    """A path from a page or a config lies neither in the workspace nor in a folder that the operator listed."""


@dataclass(frozen=True)
class Workspace:
    """The folder that `studio` was started in, and the folders beside it that the operator allows."""

    root: Path
    allowed: tuple[Path, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.resolve())
        object.__setattr__(self, "allowed", tuple(path.resolve() for path in self.allowed))

    @property
    def saves(self) -> Path:
        """One folder a run, and the job database."""
        return self.root / "saves"

    @property
    def data(self) -> Path:
        """Dataset files."""
        return self.root / "data"

    @property
    def models(self) -> Path:
        """Local base models, one folder each."""
        return self.root / "models"

    @property
    def exports(self) -> Path:
        """Models that left the house."""
        return self.root / "exports"

    @property
    def engines(self) -> Path:
        """Environments of libraries that cannot share ours."""
        return self.root / "engines"

    @property
    def cache(self) -> Path:
        """What can be made again: token caches, page indexes, fetched datasets."""
        return self.root / ".cache"

    @property
    def database(self) -> Path:
        """The job database, an index of the run folders."""
        return self.saves / "studio.db"

    @property
    def registry(self) -> Path:
        """The dataset registry in LLaMA-Factory's format."""
        return self.root / "dataset_info.json"

    @classmethod
    def of_run(cls, folder: Path, env: Mapping[str, str] | None = None) -> Workspace:
        """The workspace of a run's folder, with the folders that its job was started with."""
        return cls(folder.resolve().parent.parent, allowed_folders((), env))

    def resolve(self, text: str) -> Path:
        """The absolute path that `text` means, links followed; relative paths start at the workspace.

        Raises OutsideWorkspace when it lies neither in the workspace nor in an allowed folder.
        """
        path = (self.root / text).resolve()
        if any(path == root or root in path.parents for root in (self.root, *self.allowed)):
            return path
        raise OutsideWorkspace(
            f"{text!r} lies outside the workspace {self.root}. Move it there, or start Studio "
            f"with --allow {path.parent}."
        )


def allowed_folders(named: Iterable[str], env: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """The folders that a command line names and those of the environment, each once."""
    given = (os.environ if env is None else env).get(ALLOW_VARIABLE, "").split(os.pathsep)
    return tuple(dict.fromkeys(Path(text).resolve() for text in (*named, *given) if text))
