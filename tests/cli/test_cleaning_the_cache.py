"""`studio data clean`: what can be made again goes, what is new or lies elsewhere stays, and every byte is told."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from studio.config.workspace import Workspace
from studio.data.cache import SECONDS_A_DAY
from tests.cli.conftest import Terminal


def put(root: Path, name: str, size: int, days: float = 1) -> Path:
    """A file in the workspace that was last used so many days ago, as were the folders above it."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    age(path, days)
    return path


def age(path: Path, days: float) -> None:
    then = time.time() - days * SECONDS_A_DAY
    for place in (path, *path.parents[:2]):
        os.utime(place, (then, then))


@pytest.fixture
def cache(studio: Terminal) -> Path:
    return Workspace(studio.root).cache


def test_an_empty_cache_is_said(studio: Terminal, cache: Path) -> None:
    assert studio("data", "clean") == (0, f"There is nothing in {cache}.\n", "")


def test_each_kind_is_removed_and_told_on_a_line(studio: Terminal, cache: Path) -> None:
    for name, size in (("tokens/a/train.arrow", 3000), ("tokens/b/train.arrow", 2000), ("index/x.idx", 10)):
        put(cache, name, size)
    row = put(studio.root, "data/rows.json", 5)
    code, said, complained = studio("data", "clean")
    assert (code, complained) == (0, "")
    assert said.splitlines() == ["index: 1 removed (10 B)", "tokens: 2 removed (5.0 KB)"]
    assert [entry.name for kind in cache.iterdir() for entry in kind.iterdir()] == []
    assert row.exists()


def test_only_what_was_not_used_for_some_days_goes(studio: Terminal, cache: Path) -> None:
    old, young = put(cache, "tokens/old/x", 7, days=9), put(cache, "tokens/young/x", 5, days=2)
    _, said, _ = studio("data", "clean", "--older-than", "3.5")
    assert said == "tokens: 1 removed (7 B), 1 kept\n"
    assert young.exists() and not old.exists()


def test_a_use_counts_wherever_in_the_entry_it_was(studio: Terminal, cache: Path) -> None:
    put(cache, "fetched/set/deep/er/rows.parquet", 7, days=9)
    used = put(cache, "fetched/set/deep/note.json", 5, days=9)
    os.utime(used, (time.time() - 2 * SECONDS_A_DAY, used.stat().st_mtime))  # read two days ago
    assert studio("data", "clean", "--older-than", "3")[1] == "fetched: 0 removed (0 B), 1 kept\n"


def test_what_changed_a_moment_ago_may_be_in_use_and_stays(studio: Terminal, cache: Path) -> None:
    put(cache, "tokens/old/x", 7)
    new = put(cache, "tokens/.making-1/x", 5, days=0)
    assert studio("data", "clean")[1] == "tokens: 1 removed (7 B), 1 kept, 1 of them changed within the last minute\n"
    assert new.exists()


def test_a_file_that_lies_loose_in_the_cache_goes_too(studio: Terminal, cache: Path) -> None:
    put(cache, "left.tmp", 7)
    assert studio("data", "clean")[1] == "left.tmp: 1 removed (7 B)\n"
    assert list(cache.iterdir()) == []


def test_nothing_behind_a_link_is_touched(
    studio: Terminal, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    precious = put(elsewhere, "tokens/precious", 7)
    put(cache, "tokens/a/x", 3)
    (cache / "tokens" / "a" / "inner").symlink_to(elsewhere)
    (cache / "tokens" / "entry").symlink_to(elsewhere, target_is_directory=True)
    (cache / "linked").symlink_to(elsewhere, target_is_directory=True)
    for place in ("a/inner", "entry"):
        os.utime(cache / "tokens" / place, (1, 1), follow_symlinks=False)
    age(cache / "tokens" / "a" / "x", 1)
    said = studio("data", "clean")[1].splitlines()
    assert said[0] == "linked: a link, left alone"
    assert said[1].startswith("tokens: 2 removed (")
    assert precious.read_bytes() == b"x" * 7 and (cache / "linked").is_symlink()
    assert list((cache / "tokens").iterdir()) == []


def test_a_cache_that_is_a_link_is_left_alone(
    studio: Terminal, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    precious = put(elsewhere, "tokens/precious", 7)
    cache.symlink_to(elsewhere, target_is_directory=True)
    code, _, complained = studio("data", "clean")
    assert code != 0 and "is a link" in complained
    assert precious.exists()


@pytest.mark.parametrize("days", ["-1", "nan"])
def test_days_must_be_a_number_from_0_on(studio: Terminal, cache: Path, days: str) -> None:
    kept = put(cache, "tokens/a/x", 3)
    code, _, complained = studio("data", "clean", f"--older-than={days}")
    assert code != 0 and "is no number of days" in complained
    assert kept.exists()
