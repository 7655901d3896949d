"""Every kind of job: the same key means the same setting in all of them, and each can be named, checked and spelled."""

from __future__ import annotations

from studio.config.kinds import KINDS
from studio.config.leaves import groups, leaves
from studio.config.naming import _SUBJECTS  # pyright: ignore[reportPrivateUsage]
from studio.tasks.entry import JOBS


def test_a_key_means_the_same_in_every_kind() -> None:
    seen: dict[str, tuple[object, ...]] = {}
    for kind in KINDS.values():
        for leaf in leaves(kind.config):
            meaning = (leaf.title, leaf.description, leaf.kind, leaf.options, leaf.at_least, leaf.at_most)
            assert seen.setdefault(leaf.key, meaning) == meaning, leaf.key
        for group in groups(kind.config):
            meaning = (group.title, group.description, group.variants)
            assert seen.setdefault(f"section {group.name}", meaning) == meaning, group.name


def test_every_kind_has_its_name_its_module_and_a_command_of_its_own() -> None:
    assert KINDS.keys() == _SUBJECTS.keys() == JOBS.keys()
    commands = [kind.command for kind in KINDS.values()]
    assert len(set(commands)) == len(commands)
