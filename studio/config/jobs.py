"""What the config of every job has."""

from __future__ import annotations

from pydantic import Field

from studio.config.section import Section

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class JobConfig(Section):
    """The base of every job's config. A job that computes on devices has a section `devices` of DevicesConfig."""

    name: str | None = Field(title="Run name", default=None, pattern=NAME_PATTERN)
    """Name of the run and of its folder under saves; empty makes one from what the job does and the time."""
