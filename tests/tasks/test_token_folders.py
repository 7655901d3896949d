"""Entries of the token cache: whole or not at all, found again, and made again when something happened to them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from studio.tasks.token_cache import ABANDONED_AFTER_SECONDS, TokenCache


class Folder:
    """A cache, the notices it gave and how often an entry was made."""

    def __init__(self, path: Path) -> None:
        self.path, self.notices, self.made = path, list[str](), 0
        self.cache = TokenCache(path, self.notices.append)

    def make(self, folder: Path) -> None:
        self.made += 1
        (folder / "train.arrow").write_bytes(b"1" * 1000)
        (folder / "accounts.json").write_text("{}", encoding="utf-8")

    def names(self) -> list[str]:
        return sorted(entry.name for entry in self.path.iterdir()) if self.path.exists() else []


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / ".cache" / "tokens")


def test_what_was_added_is_found(folder: Folder) -> None:
    assert folder.cache.find("k") is None
    entry = folder.cache.add("k", folder.make)
    assert folder.cache.find("k") == entry
    assert (entry / "train.arrow").read_bytes() == b"1" * 1000
    assert folder.cache.find("other") is None
    assert (folder.names(), folder.notices) == (["k"], [])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train.arrow", _flip),
        ("train.arrow", lambda path: path.write_bytes(path.read_bytes()[:-1])),
        ("train.arrow", Path.unlink),
        ("accounts.json", _flip),
        ("contents.json", Path.unlink),
        ("contents.json", lambda path: path.write_bytes(b"")),
        ("contents.json", lambda path: path.write_bytes(b"{}")),
        ("contents.json", lambda path: path.write_bytes(b"\xff")),
    ],
    ids=["bit", "cut", "gone", "account", "no-contents", "empty", "nothing", "no-text"],
)
def test_a_damaged_entry_is_removed_with_a_notice(folder: Folder, name: str, damage: object) -> None:
    entry = folder.cache.add("k", folder.make)
    damage(entry / name)  # type: ignore[operator]
    assert folder.cache.find("k") is None
    assert len(folder.notices) == 1 and "are damaged" in folder.notices[0] and "made again" in folder.notices[0]
    assert folder.names() == []
    folder.cache.add("k", folder.make)
    assert folder.cache.find("k") == entry and len(folder.notices) == 1


def test_what_fails_half_way_leaves_nothing(folder: Folder) -> None:
    def fail(made: Path) -> None:
        folder.make(made)
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        folder.cache.add("k", fail)
    assert folder.names() == []


def test_an_entry_in_the_making_is_not_found(folder: Folder) -> None:
    def look(made: Path) -> None:
        folder.make(made)
        assert folder.cache.find("k") is None
        assert len(folder.names()) == 1

    folder.cache.add("k", look)
    assert folder.names() == ["k"]


def test_two_that_make_the_same_entry_at_once_both_get_it(folder: Folder) -> None:
    both = threading.Barrier(2, timeout=30)

    def make(made: Path) -> None:
        folder.make(made)
        both.wait()

    entries: list[Path] = []
    threads = [threading.Thread(target=lambda: entries.append(folder.cache.add("k", make))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folder.made == 2
    assert entries == [folder.path / "k"] * 2 and folder.names() == ["k"]
    assert folder.cache.find("k") == entries[0] and folder.notices == []


def test_what_a_killed_run_left_goes_after_a_day(folder: Folder) -> None:
    folder.cache.add("k", folder.make)
    old, young = folder.path / ".making-old", folder.path / ".making-young"
    for left in (old, young):
        left.mkdir()
        (left / "train.arrow").write_bytes(b"half")
    before = time.time() - ABANDONED_AFTER_SECONDS - 60
    os.utime(old, (before, before))
    folder.cache.add("other", folder.make)
    assert folder.names() == [".making-young", "k", "other"]


def test_finding_an_entry_counts_as_using_it(folder: Folder) -> None:
    entry = folder.cache.add("k", folder.make)
    os.utime(entry, (1, 1))
    folder.cache.find("k")
    assert time.time() - entry.stat().st_mtime < 60


def test_no_entry_takes_the_place_of_something_else(folder: Folder) -> None:
    folder.path.mkdir(parents=True)
    (folder.path / "k").write_text("a file", encoding="utf-8")
    with pytest.raises(OSError):
        folder.cache.add("k", folder.make)
    assert folder.names() == ["k"]
