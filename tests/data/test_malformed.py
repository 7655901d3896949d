"""Every malformed file of the table gets a message with file and line: to the trainer, to the check and on a page."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from studio.config.workspace import Workspace
from studio.data.check import check_dataset
from studio.data.detection import detect
from studio.data.examples import DataError
from studio.data.listing import list_datasets
from studio.data.pages import RowPages
from studio.data.reading import read_datasets
from tests.data.malformed import Malformed, table

TABLE = table()


@pytest.fixture(params=TABLE, ids=[f"{n}-{file.kind}".replace(" ", "_") for n, file in enumerate(TABLE)])
def file(request: pytest.FixtureRequest) -> Malformed:
    """Each malformed file in turn."""
    return request.param


@pytest.fixture
def workspace(file: Malformed, tmp_path: Path) -> Workspace:
    """A workspace with the malformed file as dataset `x`."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / file.name).write_bytes(file.content)
    entry = {"file_name": file.name, **file.entry}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"x": entry}), encoding="utf-8")
    return Workspace(tmp_path)


def says(file: Malformed, message: str) -> None:
    """Fails unless the message names the place and the reason, and reads like a sentence."""
    assert message.startswith(file.place)
    pattern = ".*".join(re.escape(part) for part in file.says.split(".*"))
    assert re.search(pattern, message, re.S)
    assert not re.search(r"Traceback|object at 0x|Error\(", message)
    assert message.endswith((".", '"..."}.'))
    assert len(message) < 400


def test_the_trainer_is_told(file: Malformed, workspace: Workspace) -> None:
    with pytest.raises(DataError) as caught:
        read_datasets(workspace, ["x"])
    text = str(caught.value)
    says(file, text.split("\n")[1] if "\n" in text else text)


def test_the_check_reports_it_or_there_is_no_row(file: Malformed, workspace: Workspace) -> None:
    report = check_dataset(workspace, "x", near=False)
    found = [str(found) for named in report.named.values() for found in named]
    if file.kind == "empty file" and not found:
        assert report.rows == 0
    else:
        says(file, found[0])


def test_no_other_door_shows_a_traceback(file: Malformed, workspace: Workspace) -> None:
    path = workspace.data / file.name
    assert len(list_datasets(workspace)) == 1
    for door in (lambda: detect(path), lambda: RowPages(path, "x").page(0, 5), lambda: RowPages(path, "x").page(1, 5)):
        try:
            door()
        except DataError as error:
            assert str(error)


def test_the_table_has_forty_kinds_of_three_files() -> None:
    kinds = Counter(file.kind for file in TABLE)
    assert len(kinds) >= 40
    assert min(kinds.values()) >= 3
