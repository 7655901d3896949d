"""Counts without a cutoff answer every cutoff as going through the rows would; and they know when they are stale."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from studio.config.io import parse
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.data.packing import pack
from studio.data.registry import DatasetEntry, find_entry, load_registry
from studio.data.splits import split
from studio.data.token_account import account, packed_rows
from studio.data.token_reports import TokenReport, histogram, keep, key_of, known_tokens, read, share_at


def config(**data: object) -> TrainConfig:
    return parse(
        {
            "model": {"path": "m"},
            "data": {"datasets": ["d"], **data},
            "optimisation": {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2},
        }
    )


def rows_of(seed: int, count: int = 60) -> list[list[bool]]:
    """Rows of up to 40 tokens; stretches of them are trained on, in some rows none."""
    draw, rows = random.Random(seed), list[list[bool]]()
    for _ in range(count):
        row: list[bool] = []
        while len(row) < draw.randint(1, 40):
            row += [draw.random() < 0.4] * draw.randint(1, 9)
        rows.append(row)
    rows[draw.randrange(count)] = [True]  # one token, which nothing predicts
    return rows


def report_of(rows: list[list[bool]]) -> TokenReport:
    report = TokenReport("d", "m", "auto")
    for place, row in enumerate(rows):
        report.add(place, row)
    return report


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cutoff", [4, 7, 20, 39, 100])
def test_figures_are_those_of_a_walk_through_all_rows(seed: int, cutoff: int) -> None:
    rows = rows_of(seed)
    found = account(report_of(rows), config(cutoff_len=cutoff))
    kept = [row for row in rows if any(row[1:cutoff])]
    masked = [row for row in rows if not any(row[1:])]
    assert found.rows == len(rows)
    assert found.cut == sum(len(row) > cutoff for row in rows)
    assert found.masked == len(masked)
    assert found.dropped == len(rows) - len(kept) - len(masked)
    assert found.kept == found.units == len(kept)
    assert found.tokens == sum(min(len(row), cutoff) for row in kept)
    assert found.trained == sum(sum(row[1:cutoff]) for row in rows)
    assert found.steps == math.ceil(math.ceil(len(kept) / 3) / 2)
    places = [place for place, row in enumerate(rows) if len(row) > cutoff]
    assert found.which["cut"] == places[:20]


def test_held_back_rows_make_no_steps() -> None:
    rows = rows_of(9)
    found = account(report_of(rows), config(cutoff_len=100, validation_size=0.25))
    train = split(range(len(rows)), 0.25, 42)[0]
    assert found.held == 15
    assert found.units == sum(any(rows[row][1:]) for row in train)


@pytest.mark.parametrize("cutoff", [8, 40])
def test_packed_rows_hold_each_kept_row_once_and_no_more_than_fits(cutoff: int) -> None:
    rows = rows_of(3)
    chosen = config(cutoff_len=cutoff, packing=True)
    groups = packed_rows(report_of(rows), chosen)
    kept = [place for place, row in enumerate(rows) if any(row[1:cutoff])]
    assert sorted(place for group in groups for place in group) == kept
    assert all(sum(min(len(rows[place]), cutoff) for place in group) <= cutoff for group in groups)
    assert account(report_of(rows), chosen).units == len(groups)


def test_running_text_is_counted_in_blocks() -> None:
    report = report_of([[True] * 10, [True] * 7])
    chosen = parse(
        {"model": {"path": "m"}, "stage": {"type": "pretrain"}}
        | {"data": {"datasets": ["d"], "packing": True, "cutoff_len": 8}}
    )
    found = account(report, chosen)
    assert (found.units, found.tokens, found.cut) == (2, 17, 0), "the third block would hold one token"


def test_the_longest_go_first_into_the_fullest_that_has_room() -> None:
    assert list(pack([3, 5, 8, 2, 0, 6], 8)) == [[2], [5, 3], [1, 0]]


def test_rows_beyond_a_thousand_are_packed_for_themselves() -> None:
    groups = list(pack([5] * 1001 + [3], 8))
    assert len(groups) == 1001 and groups[-1] == [1001 - 1, 1001]
    assert len(list(pack([4] * 10, 8, processes=2))) == 6, "two stretches of five rows"


def test_a_histogram_holds_every_row() -> None:
    width, counts = histogram([0, 1, 120, 4000], most=100)
    assert sum(counts) == 4 and len(counts) <= 101 and counts[4000 // width] == 1
    assert histogram([]) == (1, [])
    assert [share_at([5, 1, 3, 9], share) for share in (0.5, 0.95, 1)] == [3, 9, 9]


@pytest.fixture
def place(tmp_path: Path) -> tuple[Workspace, DatasetEntry]:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "d.json").write_text("[]", encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"d": {"file_name": "d.json"}}), encoding="utf-8")
    workspace = Workspace(tmp_path)
    return workspace, find_entry(load_registry(workspace), "d")


def test_counts_are_kept_and_read_as_they_were(place: tuple[Workspace, DatasetEntry]) -> None:
    workspace, entry = place
    report = report_of(rows_of(1))
    report.refuse(60, "it is empty.")
    key = key_of(workspace, entry, "tokenizer")
    keep(workspace, key, entry, report)
    assert read(workspace, key) == report
    assert known_tokens(workspace)["d"].tokens == sum(report.lengths)
    assert key != key_of(workspace, entry, "another tokenizer")


def test_a_changed_file_is_another_dataset(place: tuple[Workspace, DatasetEntry]) -> None:
    workspace, entry = place
    key = key_of(workspace, entry)
    keep(workspace, key, entry, report_of(rows_of(1)))
    (workspace.data / "d.json").write_text("[1]", encoding="utf-8")
    assert key_of(workspace, entry) != key
    assert known_tokens(workspace) == {}


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"rows": 3}'])
def test_a_damaged_report_is_no_report(place: tuple[Workspace, DatasetEntry], damage: bytes) -> None:
    workspace, entry = place
    key = key_of(workspace, entry)
    keep(workspace, key, entry, report_of(rows_of(1)))
    (workspace.cache / "token_reports" / f"{key}.json").write_bytes(damage)
    assert read(workspace, key) is None
    assert read(workspace, "never made") is None
