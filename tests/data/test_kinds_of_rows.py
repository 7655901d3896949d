"""A stage is offered, and reads, only rows of the kinds that it learns from, and the sentence names who else does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from studio.config.io import check
from studio.config.stage import STAGES, stages_learning
from studio.config.workspace import Workspace
from studio.data.chosen import dataset_faults
from studio.data.examples import DataError
from studio.data.listing import list_datasets
from studio.data.reading import KIND_WORDS, TRAINABLE, read_datasets
from tests.conftest import write_dataset

ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "chat": ({"instruction": "a", "output": "b"}, {}),
    "text": ({"text": "a"}, {"formatting": "text"}),
    "prompt": ({"prompt": "a"}, {"formatting": "prompt"}),
    "preference": ({"instruction": "a", "chosen": "b", "rejected": "c"}, {"ranking": True}),
    "judged": ({"instruction": "a", "output": "b", "good": True}, {"columns": {"kto_tag": "good"}}),
}


@pytest.fixture
def every_kind(tmp_path: Path) -> Workspace:
    """A workspace with a dataset of each kind, named after it."""
    (tmp_path / "data").mkdir()
    for kind, (row, entry) in ROWS.items():
        write_dataset(tmp_path, kind, [row], **entry)
    return Workspace(tmp_path)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_its_kinds_and_refuses_the_others(every_kind: Workspace, stage: str) -> None:
    kinds = STAGES[stage].kinds
    for name in ROWS:
        if name in kinds:
            (example,) = read_datasets(every_kind, [name], kinds=kinds).examples
            assert example.kind == name
        else:
            wanted = f"{KIND_WORDS[name]}, which this stage does not learn from. Choose stage.type="  # type: ignore[index]
            with pytest.raises(DataError, match=re.escape(wanted)):
                read_datasets(every_kind, [name], kinds=kinds)


@pytest.mark.parametrize("stage", STAGES)
def test_what_the_registry_tells_is_said_before_the_start(every_kind: Workspace, stage: str) -> None:
    fitting = {entry.name for entry in list_datasets(every_kind) if entry.fits(STAGES[stage].kinds)}
    assert fitting == {name for name in ROWS if name in STAGES[stage].kinds}
    tree = {"model": {"path": "m"}, "stage": {"type": stage}, "data": {"datasets": list(ROWS)}}
    config, _ = check(tree)
    assert config is not None
    faults = dataset_faults(every_kind, config)
    assert {fault.value for fault in faults} == set(ROWS) - fitting
    assert {fault.code for fault in faults} <= {"wrong_rows"}
    for fault in faults:
        assert all(name in fault.sentence() for name in stages_learning([str(fault.value)]))


def test_a_table_that_may_hold_text_or_conversations_is_offered_for_both(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_dataset(tmp_path, "tales", [{"text": "a"}], columns={"prompt": "text"})
    write_dataset(tmp_path, "seen", [{"instruction": "a", "output": "b"}], columns={"images": "pictures"})
    tales, seen = list_datasets(Workspace(tmp_path))
    assert tales.fits({"text"})
    assert tales.fits({"chat"})
    assert seen.kinds == ("chat", "media")


def test_every_kind_but_media_is_learnt_by_some_stage() -> None:
    assert set(KIND_WORDS) - TRAINABLE == {"media"}
