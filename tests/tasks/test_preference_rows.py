"""Judged answers as tokens: as in supervised fine-tuning, cut in one way, counted, and kept for the next run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.data.examples import DataError, Example, Message
from studio.runs.folder import RunFolder
from tests.conftest import CHATML, QUESTIONS, write_dataset

pytestmark = pytest.mark.slow

ASKED = (
    Message("system", "Answer shortly."),
    Message("user", "Who are you?"),
    Message("assistant", "I am Lumen."),
    Message("user", "Name a colour."),
)
PAIR = Example(
    "x", 1, ASKED, chosen=Message("assistant", "Blue is a colour."), rejected=Message("assistant", "No colour today.")
)


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer_folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_tokenizer_folder)


def pairs(tokenizer: Any, *examples: Example, cutoff: int = 1000, template: str = CHATML, form: Any = "pairs") -> Any:
    """The rows of some examples."""
    from studio.tasks.preference import tokenize_judged
    from studio.tasks.tokenize import Settings

    return tokenize_judged(examples, tokenizer, template, Settings(cutoff, form=form))


def test_an_answer_has_the_tokens_that_fine_tuning_trains_on(tokenizer: Any) -> None:
    from studio.tasks.tokenize import IGNORED, Settings, tokenize_example

    (row,) = pairs(tokenizer, PAIR)
    for side, answer in zip((PAIR.chosen, PAIR.rejected), row.answers, strict=True):
        assert side is not None
        whole = replace(PAIR, messages=(*ASKED, side), chosen=None, rejected=None)
        trained = tokenize_example(whole, tokenizer, CHATML, Settings(1000, mask_history=True))
        assert answer == [label for label in trained.labels if label != IGNORED]
        assert [*row.prompt_ids, *answer] == trained.input_ids[: len(row.prompt_ids) + len(answer)]
        assert answer[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(row.prompt_ids).endswith("Name a colour.<|im_end|><|im_start|>assistant\n")
    assert "I am Lumen." in tokenizer.decode(row.prompt_ids)


def test_an_answer_without_an_end_in_the_template_gets_one(tokenizer: Any) -> None:
    bare = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "
    bare = bare.replace("{% endfor %}assistant: ", "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}")
    (row,) = pairs(tokenizer, PAIR, template=bare)
    assert all(answer[-1] == tokenizer.eos_token_id for answer in row.answers)


def test_a_letter_that_melts_into_the_prompt_belongs_to_the_answers(tokenizer: Any) -> None:
    close = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    near = replace(
        PAIR, messages=(Message("user", "xon"),), chosen=Message("assistant", "e"), rejected=Message("assistant", "!")
    )
    (row,) = pairs(tokenizer, near, template=close)
    said = [tokenizer.decode([*row.prompt_ids, *answer], skip_special_tokens=True) for answer in row.answers]
    assert said == ["xone", "xon!"]
    assert row.trained


@pytest.mark.parametrize(
    ("cutoff", "prompt_left", "answers_cut"), [(1000, 1.0, False), (60, 0.9, False), (12, 0.5, True)]
)
def test_the_beginning_of_the_prompt_goes_first(
    tokenizer: Any, cutoff: int, prompt_left: float, answers_cut: bool
) -> None:
    (whole,), (row,) = pairs(tokenizer, PAIR), pairs(tokenizer, PAIR, cutoff=cutoff)
    assert row.prompt_ids == whole.prompt_ids[len(whole.prompt_ids) - len(row.prompt_ids) :]
    assert len(row.prompt_ids) <= prompt_left * len(whole.prompt_ids)
    assert (row.cut, row.answers_cut) == (cutoff < 1000, answers_cut)
    assert all(len(row.prompt_ids) + len(answer) <= cutoff for answer in row.answers)
    assert len(row.prompt_ids) >= min(cutoff // 4, len(whole.prompt_ids))
    if not answers_cut:
        assert row.answers == whole.answers


def test_the_token_that_begins_every_text_stays() -> None:
    from studio.tasks.preference import fit

    row = fit([1, 10, 11, 12, 13, 14], [[20, 21], [22]], 5, begin=1)
    assert (row.prompt_ids, row.answers, row.cut) == ([1, 13, 14], ([20, 21], [22]), True)
    assert fit([1, 10, 11, 12], [[20, 21]], 5, begin=None).prompt_ids == [10, 11, 12]


def test_rows_without_a_difference_or_an_answer_are_left_out_and_counted(tokenizer: Any, tmp_path: Path) -> None:
    from studio.tasks.token_file import open_rows, write_rows
    from studio.tasks.tokenize import Settings

    twins = replace(PAIR, rejected=PAIR.chosen)
    dumb = replace(PAIR, chosen=Message("assistant", "Blue.", trained=False))
    rows = pairs(tokenizer, PAIR, twins, dumb)
    account = write_rows(rows, tmp_path / "rows.arrow", Settings(1000, form="pairs"))
    assert (account.rows, account.kept, account.alike, account.dropped) == (3, 1, 1, 1)
    assert "1 pairs hold the same answer twice" in "\n".join(account.explain("Training data", 1000))
    (row,) = list(open_rows(tmp_path / "rows.arrow"))
    assert row == {
        "prompt_ids": rows[0].prompt_ids,
        "chosen_ids": rows[0].answers[0],
        "rejected_ids": rows[0].answers[1],
    }
    assert account.trained_tokens == sum(map(len, rows[0].answers))


def test_pairs_become_judged_answers_that_stay_in_one_set(data_workspace: Path) -> None:
    from studio.tasks.dataset import read_rows

    rows = [{"instruction": question, "chosen": answer, "rejected": "No."} for question, answer in QUESTIONS]
    write_dataset(data_workspace, "pairs", list(rows), ranking=True)
    arguments = {
        "datasets": ["pairs"],
        "validation_datasets": [],
        "validation_size": 3,
        "max_samples": None,
        "seed": 1,
        "kinds": ["judged", "preference"],
        "apart": True,
    }
    train, validation = read_rows(Workspace(data_workspace), arguments)
    assert (len(train), len(validation)) == (10, 6)
    assert [example.label for example in train] == [True, False] * 5
    assert {one.messages[0] for one in train}.isdisjoint(one.messages[0] for one in validation)


def test_a_second_run_takes_the_tokens_of_the_first(data_workspace: Path, tokenizer: Any) -> None:
    from studio.tasks.dataset import prepare
    from studio.tasks.status import Reporter
    from studio.tasks.tokenize import Settings

    rows = [
        {"instruction": question, "output": answer, "good": place % 2 == 0}
        for place, (question, answer) in enumerate(QUESTIONS)
    ]
    write_dataset(data_workspace, "verdicts", list(rows), columns={"kto_tag": "good"})
    arguments = {
        "datasets": ["verdicts"],
        "validation_datasets": [],
        "validation_size": 0.0,
        "max_samples": None,
        "seed": 1,
        "processes": 1,
        "kinds": ["judged"],
        "apart": True,
    }
    reporter = Reporter(RunFolder(data_workspace))
    made: list[Any] = []
    for _ in range(2):
        prepared = prepare(
            Workspace(data_workspace), arguments, tokenizer, CHATML, Settings(99, form="judged"), reporter
        )
        made.append(list(prepared.train))
    assert made[0] == made[1]
    assert [row["label"] for row in made[0]] == [True, False] * 4
    assert reporter.status.message == "tokens from the cache"


def test_a_row_that_the_template_refuses_says_why(tokenizer: Any) -> None:
    strict = "{{ raise_exception('no system turn') if messages[0]['role'] == 'system' }}" + CHATML
    (outcome,) = pairs(tokenizer, PAIR, template=strict)
    assert isinstance(outcome, DataError)
    assert "no system turn" in str(outcome)


def test_the_page_shows_both_answers(workspace: Path, add_dataset: Callable[..., None]) -> None:
    from studio.tasks.desk import Desk
    from studio.tasks.token_report import rows

    add_dataset("pairs", [{"instruction": "Name a colour.", "chosen": "Blue.", "rejected": "No."}], ranking=True)
    tree = {"model": {"path": "models/tiny"}, "data": {"datasets": ["pairs"]}, "stage": {"type": "dpo"}}
    seen = rows(Desk(Workspace(workspace)), {"config": tree, "name": "pairs", "places": [0]})["rows"]
    assert [row["side"] for row in seen] == ["chosen", "rejected"]
    said = ["".join(text for _, text, bits, _ in row["tokens"] if bits & 1) for row in seen]
    assert said == ["Blue.<|im_end|>", "No.<|im_end|>"]
    tree = {**tree, "stage": {"type": "sft"}}
    (refused,) = rows(Desk(Workspace(workspace)), {"config": tree, "name": "pairs", "places": [0]})["rows"]
    assert "Choose stage.type=dpo or kto or orpo or simpo or reward." in refused["problem"]
