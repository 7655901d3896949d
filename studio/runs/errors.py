"""What this package raises: one base, one class for each thing that a caller may want to tell apart."""

from __future__ import annotations


class RunError(Exception):
    """A request about runs that cannot be done; the text says why and what to do instead."""


class BadName(RunError):
    """A run's name that could not be a folder's name."""


class BadDevices(RunError):
    """Devices asked for that are misspelt or not in this machine."""


class NoSuchRun(RunError):
    """No run of that name."""


class RunExists(RunError):
    """A folder of that name is already there, and the caller has not said what shall become of it."""


class RunActive(RunError):
    """The run is going on, so it can be neither changed nor removed."""


class RunNotActive(RunError):
    """The run is not going on, so it can be neither stopped nor asked to save."""


class NoCheckpoint(RunError):
    """The checkpoint that was asked for is missing or incomplete."""


class DiskFull(RunError):
    """Too little room on the disk to begin a run."""


class StoreError(RunError):
    """The job database cannot be read or written."""


class CorruptDatabase(StoreError):
    """The job database is damaged; it can be rebuilt from the run folders."""
