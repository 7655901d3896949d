"""The configs of runs as typed values, read once for each change of a file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TypeVar, cast

from studio.config.faults import ConfigError
from studio.config.io import check, read_yaml
from studio.config.jobs import JobConfig
from studio.runs.folder import RunFolder

Config = TypeVar("Config", bound=JobConfig)


def config_of(folder: RunFolder, schema: type[Config]) -> Config | None:
    """The config of a run as far as it has the right shape; None when it has not or cannot be read."""
    try:
        known = folder.config_file.stat()
    except OSError:
        return None
    return cast("Config | None", _read(str(folder.config_file), known.st_mtime_ns, known.st_size, schema))


@lru_cache(maxsize=1024)
def _read(path: str, _mtime_ns: int, _size: int, schema: type[JobConfig]) -> JobConfig | None:
    """A list of runs asks every second, and reading YAML takes milliseconds."""
    try:
        return check(read_yaml(Path(path).read_text(encoding="utf-8")), schema)[0]
    except (ConfigError, OSError, UnicodeDecodeError):
        return None
