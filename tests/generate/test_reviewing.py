"""Rows wait for a person: accepted, edited, rejected, undone; then in a dataset, and nothing else ever in one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.data.generated import FILE, Finished, WrittenRow, append_line
from studio.data.reading import read_datasets, read_entry_file
from studio.data.registry import find_entry, load_registry
from studio.data.reviewing import Review, meant_for, numbers_in


def chat(question: str, answer: str = "So.") -> WrittenRow:
    return WrittenRow((("user", question), ("assistant", answer)))


def preference(question: str) -> WrittenRow:
    return WrittenRow((("user", question),), "Better.", "Worse.")


@pytest.fixture
def folder(data_workspace: Path) -> Path:
    """A run that wrote six rows in two requests, and one request that brought none."""
    return written(data_workspace, [chat(f"Question {number}?") for number in range(1, 7)])


def written(root: Path, rows: list[WrittenRow], name: str = "run") -> Path:
    path = root / "saves" / name
    path.mkdir(parents=True)
    half = (len(rows) + 1) // 2
    for number, part in enumerate((rows[:half], rows[half:])):
        append_line(path / FILE, Finished(f"seeds:{number}", tuple(part), origin=f"seed {number}").line())
    append_line(path / FILE, Finished("seeds:9", failure="no JSON", raw="Hello.").line())
    return path


def test_rows_are_pending_until_somebody_decides(folder: Path) -> None:
    review = Review(folder)
    assert review.counts == {"pending": 6, "accepted": 0, "rejected": 0, "added": 0}
    assert [row.number for row in review.rows] == [1, 2, 3, 4, 5, 6] and review.rows[3].request.origin == "seed 1"
    assert [failed.raw for failed in review.failures] == ["Hello."] and not review.can_undo


def test_decisions_are_kept_and_undone_one_by_one(folder: Path) -> None:
    review = Review(folder)
    review.decide("accept", [1, 2, 3])
    review.decide("reject", [3, 4])
    review.edit(2, chat("Question two?", "Two.").tree())
    review.edit(2, chat("Question 2b?", "Two.").tree())
    assert Review(folder).counts == review.counts == {"pending": 2, "accepted": 2, "rejected": 2, "added": 0}
    assert Review(folder).rows[1].row.question == "Question 2b?" and Review(folder).rows[1].edited

    assert review.undo() and Review(folder).rows[1].row.question == "Question two?"
    assert review.undo() and not Review(folder).rows[1].edited
    assert review.undo() and Review(folder).counts["rejected"] == 0 and Review(folder).rows[2].state == "accepted"
    assert review.undo() and not review.undo()
    assert Review(folder).counts == {"pending": 6, "accepted": 0, "rejected": 0, "added": 0}
    lines = (folder / "review.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["op"] for line in lines] == ["accept", "reject", "edit", "edit", *["undo"] * 4]


def test_two_reviewers_see_each_other(folder: Path) -> None:
    one, other = Review(folder), Review(folder)
    one.decide("accept", [1])
    other.decide("reject", [2])
    assert other.counts == Review(folder).counts == {"pending": 4, "accepted": 1, "rejected": 1, "added": 0}
    one.undo()
    assert Review(folder).counts["rejected"] == 0, "the last decision is taken back, whoever made it"


def test_a_review_survives_a_half_written_line_and_rows_that_come_later(folder: Path) -> None:
    Review(folder).decide("accept", [6])
    with (folder / "review.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"op": "reject", "rows": [1, 2')
    append_line(folder / FILE, Finished("seeds:5", (chat("Question 7?"),)).line())
    review = Review(folder)
    review.decide("reject", [7])
    assert Review(folder).counts == {"pending": 5, "accepted": 1, "rejected": 1, "added": 0}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({}, "no question"),
        ({"messages": [{"role": "user", "content": "Why?"}]}, "last turn"),
        ({"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "So."}]}, "turn 1 is empty"),
        ({"messages": [{"role": "user", "content": "Why?"}], "chosen": "A.", "rejected": "B."}, "stays a"),
        ("Why?", "no question"),
    ],
)
def test_words_that_make_no_row_are_refused(folder: Path, value: Any, reason: str) -> None:
    review = Review(folder)
    with pytest.raises(DataError, match=reason):
        review.edit(1, value)
    assert not review.rows[0].edited


@pytest.mark.parametrize("text", ["", "one", "1,", "2-", "7", "0", "1-9"])
def test_rows_that_are_not_there_are_refused(folder: Path, text: str) -> None:
    review = Review(folder)
    with pytest.raises(DataError):
        review.decide("accept", numbers_in(text, review))
    assert review.counts["accepted"] == 0


def test_rows_are_named_in_numbers_and_ranges(folder: Path) -> None:
    review = Review(folder)
    assert numbers_in("1, 4-6", review) == [1, 4, 5, 6]
    review.decide("reject", [2])
    assert numbers_in("all", review) == [1, 3, 4, 5, 6]


def test_only_accepted_rows_become_a_new_dataset_that_can_be_trained_on(folder: Path, data_workspace: Path) -> None:
    workspace, review = Workspace(data_workspace), Review(folder)
    with pytest.raises(DataError, match="No row is accepted"):
        review.add_to(workspace, "fresh")
    review.decide("accept", [1, 2])
    review.decide("reject", [3])
    review.edit(2, chat("Question two?", "Two.").tree())
    taken = review.add_to(workspace, "fresh")
    assert (taken.name, taken.rows, taken.new) == ("fresh", 2, True)
    rows = read_datasets(workspace, ["fresh"]).examples
    assert [[message.content for message in row.messages] for row in rows] == [
        ["Question 1?", "So."],
        ["Question two?", "Two."],
    ]
    assert review.counts == {"pending": 3, "accepted": 0, "rejected": 1, "added": 2} and not review.undo()
    with pytest.raises(DataError, match="is in the dataset 'fresh' already"):
        review.decide("reject", [1])


def test_preferences_become_a_dataset_of_preferences(data_workspace: Path) -> None:
    review = Review(written(data_workspace, [preference("Why?"), preference("Who?")]))
    review.decide("accept", [1, 2])
    review.add_to(Workspace(data_workspace), "better")
    entry = find_entry(load_registry(Workspace(data_workspace)), "better")
    rows = read_entry_file(Workspace(data_workspace), entry).examples
    assert [row.kind for row in rows] == ["preference"] * 2 and rows[0].chosen and rows[0].chosen.content == "Better."


@pytest.mark.parametrize("name", ["chat", "turns"])
def test_a_dataset_that_is_there_gets_a_new_version_and_keeps_its_file(
    folder: Path, data_workspace: Path, name: str
) -> None:
    workspace, review = Workspace(data_workspace), Review(folder)
    before = {path.name: path.read_bytes() for path in (data_workspace / "data").iterdir()}
    old = read_datasets(workspace, [name]).examples
    review.decide("accept", [1, 4])
    taken = review.add_to(workspace, name)
    new = read_datasets(workspace, [name]).examples
    assert not taken.new and [row.messages for row in new[: len(old)]] == [row.messages for row in old]
    assert [row.messages[-2].content for row in new[len(old) :]] == ["Question 1?", "Question 4?"]
    after = {path.name: path.read_bytes() for path in (data_workspace / "data").iterdir()}
    assert {file: after[file] for file in before} == before and len(after) == len(before) + 1


def test_columns_and_tags_of_the_dataset_are_kept(folder: Path, data_workspace: Path, add_dataset: Any) -> None:
    add_dataset("own", [{"q": "Who?", "a": "Me."}], columns={"prompt": "q", "response": "a"})
    talk = {"talk": [{"who": "you", "says": "Who?"}, {"who": "me", "says": "Me."}]}
    tags = {"role_tag": "who", "content_tag": "says", "user_tag": "you", "assistant_tag": "me"}
    add_dataset("talks", [talk], formatting="sharegpt", columns={"messages": "talk"}, tags=tags)
    workspace, review = Workspace(data_workspace), Review(folder)
    for number, name in ((1, "own"), (2, "talks")):
        review.decide("accept", [number])
        review.add_to(workspace, name)
        rows = read_datasets(workspace, [name]).examples
        assert [message.content for message in rows[1].messages] == [f"Question {number}?", "So."]
        assert len(rows) == 2


@pytest.mark.parametrize("name", ["plain", "", "../out", ".hidden", "a b", "a/b"])
def test_a_dataset_that_cannot_take_the_rows_stays_as_it_is(folder: Path, data_workspace: Path, name: str) -> None:
    review, registry = Review(folder), (data_workspace / "dataset_info.json").read_bytes()
    review.decide("accept", [1])
    before = sorted(path.name for path in (data_workspace / "data").iterdir())
    with pytest.raises(DataError):
        review.add_to(Workspace(data_workspace), name)
    assert review.counts["accepted"] == 1 and review.can_undo
    assert (data_workspace / "dataset_info.json").read_bytes() == registry
    assert sorted(path.name for path in (data_workspace / "data").iterdir()) == before


def test_conversations_do_not_go_into_a_dataset_of_preferences(folder: Path, data_workspace: Path) -> None:
    other = Review(written(data_workspace, [preference("Why?")], "other"))
    other.decide("accept", [1])
    other.add_to(Workspace(data_workspace), "better")
    review = Review(folder)
    review.decide("accept", [1])
    with pytest.raises(DataError, match="holds preferences"):
        review.add_to(Workspace(data_workspace), "better")


def test_the_dataset_is_the_one_of_the_config_else_called_like_the_run(folder: Path) -> None:
    assert meant_for(folder) == "run"
    (folder / "config.yaml").write_text("rows: {dataset: faq}", encoding="utf-8")
    assert meant_for(folder) == "faq"
    (folder / "config.yaml").write_text("rows: [", encoding="utf-8")
    assert meant_for(folder) == "run"
