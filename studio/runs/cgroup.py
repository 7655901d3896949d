"""What the kernel's control group says of main memory: the limit, and how often it killed for want of it.

Both generations are read: v2 keeps memory.max and memory.events, v1 memory.limit_in_bytes and memory.oom_control.
Neither exists on macOS; every answer is then None.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.runs.atomic import read_text

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
_NO_LIMIT = 1 << 60  # v1 says "unlimited" by a number near 2**63


def oom_kills(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """How many processes of the group the kernel has killed because main memory ran out; None when it does not say."""
    for folder in _folders(root, membership):
        for name in ("memory.events", "memory.oom_control"):
            for line in read_text(folder / name).splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill" and value.strip().isdigit():
                    return int(value)
    return None


def memory_limit(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Bytes of main memory that the group may use; None without a limit."""
    for folder in _folders(root, membership):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = read_text(folder / name).strip()
            if text.isdigit() and int(text) < _NO_LIMIT:
                return int(text)
    return None


def memory_used(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Bytes that the group uses, file cache included; None when it does not say."""
    for folder in _folders(root, membership):
        for name in ("memory.current", "memory.usage_in_bytes"):
            text = read_text(folder / name).strip()
            if text.isdigit():
                return int(text)
    return None


def _folders(root: Path, membership: Path) -> Iterator[Path]:
    """Where the group's files may lie: at its path, or at the top when a container shows only its own group."""
    for line in read_text(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            yield from (root / group.lstrip("/"), root)
        elif "memory" in controllers.split(","):
            yield from (root / "memory" / group.lstrip("/"), root / "memory")
