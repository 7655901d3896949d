"""The Tokens view shows what the trainer trains on: its rows, its account of the dataset, its packed rows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.cli.main import main
from studio.config.workspace import Workspace
from studio.runs.inspector import Inspector, InspectorError

pytestmark = pytest.mark.slow

TRAINED, SPECIAL, PART, ADDED = 1, 2, 4, 8


@pytest.fixture
def desk(workspace: Path) -> Any:
    from studio.tasks.desk import Desk

    return Desk(Workspace(workspace))


def tree(name: str, *, stage: str = "sft", **data: Any) -> dict[str, Any]:
    return {"model": {"path": "models/tiny"}, "stage": {"type": stage}, "data": {"datasets": [name], **data}}


def ended(steps: Any) -> dict[str, Any]:
    """The answer of a long question."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def prepared(desk: Any, config: dict[str, Any], folder: Path) -> Any:
    """The same rows by the trainer's own preparation."""
    from studio.tasks.dataset import read_rows
    from studio.tasks.tokenize import tokenize_examples

    seen = desk.seen(config)
    train, validation = read_rows(desk.workspace, seen.plan.data)
    return [
        row for row in tokenize_examples([*train, *validation], seen.tokenizer, seen.template, seen.settings)
        if row.trained
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "stage"), [("chat", "sft"), ("turns", "sft"), ("plain", "pretrain")])
def test_tokens_and_masks_are_the_trainers(desk: Any, tmp_path: Path, name: str, stage: str) -> None:
    from studio.tasks.token_report import rows

    config = tree(name, stage=stage, cutoff_len=24)
    shown = rows(desk, {"config": config, "name": name, "places": list(range(8))})["rows"]
    for row, own in zip([row for row in shown if row["trained"]], prepared(desk, config, tmp_path), strict=True):
        kept = row["tokens"][:24]
        assert [token[0] for token in kept] == own.input_ids
        labels = [token[0] if token[2] & TRAINED else -100 for token in kept]
        assert labels[1:] == own.labels[1:]
        assert (row["kept"], row["trained"]) == (len(own.input_ids), own.trained)
        assert row["total"] == len(row["tokens"]) == row["shown"]


def test_the_text_of_all_tokens_is_the_text(desk: Any, add_dataset: Callable[..., None]) -> None:
    from studio.tasks.token_report import rows

    words = "Tab\there,  two spaces,\nünïcödé, 世界 and 🦙🦙."
    add_dataset("odd", [{"instruction": words, "output": f"  {words}  "}])
    row = rows(desk, {"config": tree("odd"), "name": "odd", "places": [0]})["rows"][0]
    text = "".join(token[1] for token in row["tokens"] if not token[2] & PART)
    assert text == f"<|im_start|>user\n{words}<|im_end|><|im_start|>assistant\n  {words}  <|im_end|>"
    assert any(token[2] & PART for token in row["tokens"]), "a character of several tokens shows once"
    roles = {row["turns"][token[3]] for token in row["tokens"] if token[3] >= 0}
    assert roles == {"user", "assistant"}
    marks = [token[1] for token in row["tokens"] if token[2] & SPECIAL]
    assert marks == ["<|im_start|>", "<|im_end|>"] * 2


def test_an_end_token_that_the_trainer_adds_is_told_apart(desk: Any) -> None:
    from studio.tasks.token_report import rows

    template = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    (desk.workspace.models / "tiny" / "chat_template.jinja").write_text(template, encoding="utf-8")
    row = rows(desk, {"config": tree("chat"), "name": "chat", "places": [7]})["rows"][0]
    assert "".join(token[1] for token in row["tokens"]) == "user: Say something short.\nassistant: Yes.<|im_end|>"
    assert [token[2] & ADDED for token in row["tokens"][-2:]] == [0, ADDED]
    assert row["tokens"][-1][2] & TRAINED


def test_a_row_that_cannot_be_used_says_why(desk: Any, add_dataset: Callable[..., None]) -> None:
    from studio.data.examples import DataError
    from studio.tasks.token_report import rows

    add_dataset("mixed", [{"instruction": "A?", "output": "B."}, {"instruction": 7, "output": "B."}, {"output": ""}])
    shown = rows(desk, {"config": tree("mixed"), "name": "mixed", "places": [0, 1, 2]})["rows"]
    assert "tokens" in shown[0]
    assert all(row["problem"] and "row" in row["where"] for row in shown[1:])
    report = ended(_scan(desk, tree("mixed"), "mixed"))["report"]
    assert (report["account"]["rows"], report["refused"]) == (1, 2)
    assert [place for place, _ in report["bad"]] == [1, 2]
    with pytest.raises(DataError, match="no row 9"):
        rows(desk, {"config": tree("mixed"), "name": "mixed", "places": [8]})


def _scan(desk: Any, config: dict[str, Any], name: str) -> Any:
    from studio.tasks.token_scan import scan

    return scan(desk, {"config": config, "name": name})


@pytest.mark.parametrize("cutoff", [8, 20, 48, 400])
@pytest.mark.parametrize(("name", "stage"), [("chat", "sft"), ("turns", "sft"), ("plain", "pretrain")])
def test_the_count_is_the_trainers_account(desk: Any, tmp_path: Path, name: str, stage: str, cutoff: int) -> None:
    config = tree(name, stage=stage, cutoff_len=cutoff)
    own = prepared(desk, config, tmp_path)
    sums = ended(_scan(desk, config, name))["report"]["account"]
    assert sums["rows"] == 8
    assert sums["kept"] == len(own)
    assert sums["cut"] >= sum(row.cut for row in own)
    assert sums["tokens"] == sum(len(row.input_ids) for row in own)
    assert sums["trained"] == sum(row.trained for row in own)


def test_a_count_serves_every_cutoff_and_ends_with_its_file(desk: Any, add_dataset: Callable[..., None]) -> None:
    from studio.tasks.token_scan import known

    def ask(**data: Any) -> Any:
        return known(desk, {"config": tree("chat", **data), "name": "chat"})["report"]

    assert ask() is None
    ended(_scan(desk, tree("chat", cutoff_len=400), "chat"))
    assert ask(cutoff_len=20)["account"]["cut"] > 0
    assert ask(cutoff_len=400)["account"]["cut"] == 0
    assert ask(packing=True, cutoff_len=400)["account"]["units"] == 1
    add_dataset("chat", [{"instruction": "Other?", "output": "Rows."}])
    assert ask() is None


def test_a_count_of_the_first_rows_stops_there(desk: Any) -> None:
    report = ended(_scan(desk, tree("chat", max_samples=3), "chat"))["report"]
    assert report["account"]["rows"] == 3


def test_packed_rows_are_those_of_the_trainer(desk: Any, add_dataset: Callable[..., None], tmp_path: Path) -> None:
    from datasets import Dataset
    from trl.data_utils import pack_dataset

    from studio.tasks.token_scan import known

    many = [{"instruction": f"Count to {n}.", "output": " ".join(map(str, range(n % 23 + 1)))} for n in range(1300)]
    add_dataset("many", many)
    config = tree("many", cutoff_len=64, packing=True)
    own = prepared(desk, config, tmp_path)
    numbers = [[place] * len(row.input_ids) for place, row in enumerate(own)]
    rows = Dataset.from_dict({"input_ids": [row.input_ids for row in own], "number": numbers})
    packed = pack_dataset(rows, 64, "bfd")
    ended(_scan(desk, config, "many"))
    for index in (0, 1, len(packed) // 2, len(packed) - 1):
        answer = known(desk, {"config": config, "name": "many", "packed": index})["report"]
        assert answer["account"]["units"] == len(packed)
        assert answer["group"] == list(dict.fromkeys(packed[index]["number"]))


def test_the_real_helper_answers_while_it_counts_and_can_be_stopped(
    workspace: Path, add_dataset: Callable[..., None]
) -> None:
    rows = [{"instruction": f"Say {n}.", "output": f"It is {n}. " * 12} for n in range(20_000)]
    add_dataset("long", rows)
    inspector = Inspector(Workspace(workspace))
    try:
        body = {"config": tree("chat"), "name": "chat", "places": [0]}
        assert inspector.ask("tokens.rows", body)["rows"][0]["tokens"]
        asked = inspector.begin("tokens.scan", {"config": tree("long"), "name": "long"})
        assert inspector.ask("tokens.rows", body)["rows"][0]["tokens"], "a short question does not wait for a long one"
        assert not asked.ended.is_set()
        deadline = time.monotonic() + 30
        while not asked.done and time.monotonic() < deadline:
            time.sleep(0.01)
        inspector.cancel(asked.ticket)
        assert asked.ended.wait(30) and asked.error is not None and asked.error.kind == "cancelled"
        assert 0 < asked.done < asked.total
        with pytest.raises(InspectorError, match="There is no model folder models/none"):
            inspector.ask("tokens.rows", {**body, "config": {**tree("chat"), "model": {"path": "models/none"}}})
    finally:
        inspector.close()


def test_the_terminal_shows_an_account_and_a_row(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "tokens", "turns", "--workspace", str(workspace), "--model", "models/tiny"]
    assert main([*words, "--cutoff", "64", "data.packing=true"]) == 0
    told = capsys.readouterr().out
    assert "8 of 8 rows are kept" in told and "packed into" in told and "steps per epoch" in told and "█" in told
    assert main([*words, "--row", "1", "stage.mask_history=true"]) == 0
    told = capsys.readouterr().out
    answer = json.loads((workspace / "data" / "turns.json").read_text())[0]["conversations"][4]["value"]
    assert f"⟦{answer}<|im_end|>⟧" in told and told.count("⟦") == 2, "one in the legend, one answer"
    assert main([*words[:-1], "models/none"]) == 2
    assert "There is no model folder models/none" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "folder", "jsonl.gz"])
def test_a_row_that_a_list_names_is_found_again(desk: Any, kind: str) -> None:
    """Whatever the kind of file: the places in a report lead to the rows that were counted there."""
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    from studio.data.examples import Example
    from studio.data.registry import find_entry, load_registry
    from studio.data.token_reports import folder, read
    from studio.tasks.token_report import row_at

    rows = [{"instruction": f"Say {n}.", "output": " ".join(["word"] * (n + 1))} for n in range(7)]
    lines = [json.dumps(row) + ("\n\n" if n == 2 else "\n") for n, row in enumerate(rows)]
    path = desk.workspace.data / f"kind.{kind}"
    if kind == "jsonl":
        path.write_text("".join(lines), encoding="utf-8")
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress("".join(lines).encode()))
    elif kind == "csv":
        path.write_text("instruction,output\n" + "".join(f"{row['instruction']},{row['output']}\n" for row in rows))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.mkdir()
        (path / "a.jsonl").write_text("".join(lines[:4]), encoding="utf-8")
        (path / "b.jsonl").write_text("".join(lines[4:]), encoding="utf-8")
    registry = json.loads(desk.workspace.registry.read_text(encoding="utf-8"))
    desk.workspace.registry.write_text(json.dumps({**registry, "kind": {"file_name": path.name}}), encoding="utf-8")
    ended(_scan(desk, tree("kind"), "kind"))
    (kept,) = folder(desk.workspace).glob("*.rows")
    report = read(desk.workspace, kept.stem)
    assert report is not None and len(report.places) == 7
    entry = find_entry(load_registry(desk.workspace), "kind")
    for place, row in zip(report.places, rows, strict=True):
        found = row_at(desk.workspace, entry, place)
        assert isinstance(found, Example) and found.messages[-1].content == row["output"]
