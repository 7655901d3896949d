"""The Evaluate tab's server side: what it says of evaluations, their rows in order, files to take away, new ones."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.config.evaluate import EvaluateConfig
from studio.config.io import dump, parse
from studio.config.workspace import Workspace
from studio.runs.evaluation_results import LOSSES, PREDICTIONS
from studio.runs.evaluation_subject import evaluation_of
from studio.runs.folder import RunFolder
from studio.runs.records import End, JobSpec
from studio.runs.rescoring import Rescoring
from studio.runs.states import State
from studio.runs.store import Job
from studio.runs.supervisor import Supervisor
from studio.tasks.evaluating.scoring import score
from studio.web.data_files import Tickets
from studio.web.evaluate_marks import marks
from studio.web.evaluate_view import EvaluateView
from tests.evaluate.conftest import prediction, write_lines

Ask = Callable[..., dict[str, Any]]
BASE, TUNED = "base", "saves/run"
ANSWERS = {  # row: reference, the base's answer, the tuned model's answer
    1: ("a red boat", "no idea", "a red boat"),
    2: ("two and three make five", "six", "two and five"),
    3: ("今天天气很好", "今天空气很差", "今天天气很好"),
    4: ("blue sky", "blue sky", "blue sky"),
}
ROWS = 24  # the others answer alike and wrong


def config(**scores: Any) -> EvaluateConfig:
    tree = {
        "name": "e",
        "model": {"path": "models/tiny"},
        "candidates": {"runs": [TUNED]},
        "questions": {"datasets": ["d"]},
        "scores": {"names": ["chrf", "exact_match"], "resamples": 100, **scores},
    }
    return parse(tree, EvaluateConfig)


def answers() -> Iterator[dict[str, Any]]:
    for row in range(1, ROWS + 1):
        reference, *said = ANSWERS.get(row, ("expected", "unlike", "unlike"))
        for name, answer in zip((BASE, TUNED), said, strict=True):
            yield prediction(name, row, answer, reference)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    made.saves.mkdir()
    made.data.mkdir()
    made.registry.write_text('{"d": {"file_name": "d.json"}}', encoding="utf-8")
    (made.data / "d.json").write_text('[{"instruction": "a", "output": "b"}]', encoding="utf-8")
    return made


@pytest.fixture
def folder(workspace: Workspace) -> Path:
    """A finished evaluation of a base and a tuned model, with real scores."""
    folder = RunFolder(workspace.saves / "e")
    folder.path.mkdir()
    folder.write_config(dump(config()))
    folder.write_job(JobSpec(id="abc", name="e", kind="evaluate", created=1.0))
    folder.write_end(End(State.FINISHED, 1, time=2.0))
    write_lines(folder.path / PREDICTIONS, list(answers()))
    losses = [
        {"candidate": name, "dataset": "d", "row": row, "loss": loss, "tokens": 2}
        for name, loss in ((BASE, 6.0), (TUNED, 2.0))
        for row in range(1, ROWS + 1)
    ]
    write_lines(folder.path / LOSSES, losses)
    score(folder.path, config(), ["a notice"])
    Supervisor(workspace).reconcile()  # takes up the folder as one of its runs
    return folder.path


@pytest.fixture
def tickets() -> Tickets:
    return Tickets()


@pytest.fixture
def view(workspace: Workspace, tickets: Tickets) -> EvaluateView:
    return EvaluateView(workspace, Supervisor(workspace, ("false",)), tickets)


@pytest.fixture
def ask(view: EvaluateView) -> Ask:
    return lambda action, **body: view.evaluate({"action": action, "language": "en", **body})


def numbers(reply: dict[str, Any]) -> list[int]:
    return [row["row"] for row in reply["rows"]]


# ---- what moved ----


def test_a_page_gets_everything_once_and_then_only_what_moved(ask: Ask, folder: Path) -> None:
    first = ask("tick", name="e")
    [line] = first["list"]["evaluations"]
    assert (line["state"], line["candidates"], line["datasets"]) == ("finished", [BASE, TUNED], ["d"])
    assert line["main"]["candidate"] == TUNED and line["main"]["score"] == "chrf"
    assert first["head"]["about"]["model"] == "models/tiny" and first["head"]["counts"] == {BASE: ROWS, TUNED: ROWS}
    assert first["head"]["files"] == ["scores", "rows", "report"] and "resume" not in first["head"]["actions"]
    loss = {one["candidate"]: one["value"] for one in first["table"]["results"]["scores"] if one["score"] == "loss"}
    assert loss == {BASE: 3, TUNED: 1} and first["table"]["results"]["notices"] == ["a notice"]
    json.dumps(first, allow_nan=False)
    known = {key: first[key]["version"] for key in ("list", "head", "table")}
    assert ask("tick", name="e", **known) == {"rows_version": first["rows_version"]}
    score(folder, config(names=["exact_match"]))
    again = ask("tick", name="e", **known)
    assert again["table"]["results"]["higher"] == {"exact_match": True, "loss": False, "perplexity": False}
    assert again["rows_version"] != first["rows_version"]


def test_answers_are_read_on_as_they_come(ask: Ask, folder: Path) -> None:
    ask("rows", name="e")
    file = folder / PREDICTIONS
    line = json.dumps(prediction(BASE, ROWS + 1, "late", "late"))
    with file.open("a", encoding="utf-8") as stream:
        stream.write(line[:30])
    assert ask("rows", name="e")["total"] == ROWS, "half a line waits"
    with file.open("a", encoding="utf-8") as stream:
        stream.write(line[30:] + "\n")
    late = ask("rows", name="e", start=20)
    assert late["total"] == ROWS + 1 and late["rows"][-1]["values"] == {BASE: None}, "answered, not scored"
    file.rename(folder / "predictions.1.jsonl")  # as a run with other settings does
    write_lines(file, [prediction(BASE, 1, "anew", "anew")])
    assert ask("rows", name="e")["total"] == 1


def test_what_is_not_there_is_said_in_words(ask: Ask, folder: Path) -> None:
    assert "no evaluation named gone" in ask("tick", name="gone")["missing"]
    assert "no run named 'gone'" in ask("rows", name="gone")["error"]
    assert "Nobody has answered row 99 of d" in ask("row", name="e", row=99, row_of="d")["error"]
    assert "error" in ask("row", name="e", row="x", row_of=None)
    assert "Unknown action" in ask("nothing")["error"] and "Unknown action" in ask("act", name="e", do="x")["error"]
    (folder / "results.json").unlink()
    assert ask("tick", name="e")["table"]["results"] is None
    assert "nothing to download" in ask("download", name="e", what="report")["error"]


def test_an_evaluation_is_removed_with_its_folder(ask: Ask, folder: Path) -> None:
    assert ask("act", name="e", do="remove") == {"message": "", "gone": True}
    assert not folder.exists() and ask("tick")["list"]["evaluations"] == []


# ---- rows ----


def test_rows_are_put_in_order_by_any_score(ask: Ask, folder: Path) -> None:
    assert numbers(ask("rows", name="e"))[:3] == [1, 2, 3]
    best = ask("rows", name="e", order="best", by="exact_match")
    assert numbers(best)[0] == 4 and best["rows"][0]["values"] == {BASE: 100, TUNED: 100}
    assert set(numbers(ask("rows", name="e", order="best", by="exact_match", of=TUNED))[:3]) == {1, 3, 4}
    apart = ask("rows", name="e", order="apart", by="exact_match")
    assert set(numbers(apart)[:2]) == {1, 3}, "where one is right and the other is wrong"
    assert numbers(ask("rows", name="e", order="worst", by="chrf", of=BASE, count=ROWS))[-1] == 4


def test_less_loss_is_better(ask: Ask, folder: Path) -> None:
    rows = [{"candidate": BASE, "dataset": "d", "row": row, "loss": float(row), "tokens": 1} for row in (1, 2, 3)]
    write_lines(folder / LOSSES, rows)
    score(folder, config())
    assert numbers(ask("rows", name="e", order="best", by="loss"))[:4] == [1, 2, 3, 4], "rows without it come last"
    assert numbers(ask("rows", name="e", order="worst", by="loss"))[:4] == [3, 2, 1, 4]


def test_rows_are_found_by_prompt_reference_and_answer_in_any_script(ask: Ask, folder: Path) -> None:
    assert numbers(ask("rows", name="e", text="RED BOAT")) == [1]
    assert numbers(ask("rows", name="e", text="空气")) == [3]
    assert numbers(ask("rows", name="e", text="question 17")) == [17]
    nothing = ask("rows", name="e", text="zebra")
    assert (nothing["found"], nothing["total"], nothing["rows"]) == (0, ROWS, [])
    assert ask("rows", name="e", dataset="other")["found"] == 0


def test_pages_end_where_the_rows_end(ask: Ask, folder: Path) -> None:
    page = ask("rows", name="e", start=20, count=20)
    assert numbers(page) == [21, 22, 23, 24] and (page["start"], page["found"]) == (20, ROWS)
    assert ask("rows", name="e", start=5000, count=20)["start"] == 20
    assert len(ask("rows", name="e", start=-4, count=10**9)["rows"]) == ROWS
    assert ask("rows", name="e", start="x", count=None)["start"] == 0


def test_one_row_shows_all_answers_and_its_neighbours_in_the_order_of_the_list(ask: Ask, folder: Path) -> None:
    order = ask("rows", name="e", order="apart", by="exact_match")
    places = [(row["dataset"], row["row"]) for row in order["rows"]]
    row = ask("row", name="e", order="apart", by="exact_match", row=places[1][1], row_of="d")
    assert (row["at"], row["previous"], row["next"]) == (1, places[0], places[2])
    assert [one["candidate"] for one in row["answers"]] == [BASE, TUNED]
    assert row["answers"][1]["scores"]["exact_match"] == 100
    outside = ask("row", name="e", text="zebra", row=2, row_of="d")
    assert outside["at"] is None and outside["reference"] == ANSWERS[2][0]


# ---- marks ----


@pytest.mark.parametrize(
    ("reference", "answer", "expected"),
    [
        ("the red fox ran", "the old dog ran", "the [-red fox][+old dog] ran"),
        ("今天天气很好", "今天空气很差", "今天[-天][+空]气很[-好][+差]"),
        ("a b", "a b", "a b"),
        ("", "new", "[+new]"),
        ("one\ntwo", "one\n2", "one\n[-two][+2]"),
    ],
)
def test_differences_are_whole_phrases(reference: str, answer: str, expected: str) -> None:
    found = marks(reference, answer)
    assert found is not None
    shown = {"same": "{}", "missing": "[-{}]", "added": "[+{}]"}
    assert "".join(shown[kind].format(text) for kind, text in found) == expected
    assert "".join(text for kind, text in found if kind != "missing") == answer
    assert "".join(text for kind, text in found if kind != "added") == reference


def test_texts_too_long_to_compare_are_left_unmarked() -> None:
    assert marks("x" * 5000, "y" * 5000) is None


# ---- files ----


def test_tables_and_the_report_are_handed_out_once(ask: Ask, folder: Path, tickets: Tickets) -> None:
    def fetched(what: str) -> tuple[str, bytes]:
        link = ask("download", name="e", what=what)["link"]
        offered = tickets.downloads.pop(link.rpartition("/")[2])
        return offered.name, b"".join(offered.pieces())

    name, body = fetched("scores")
    assert name == "e-scores.csv" and body.startswith(b"\xef\xbb\xbf"), "spreadsheets see UTF-8"
    table = list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"))))
    assert {row["score"] for row in table} == {"chrf", "exact_match", "loss", "perplexity"}
    rows = list(csv.DictReader(io.StringIO(fetched("rows")[1].decode("utf-8-sig"))))
    assert len(rows) == 2 * ROWS and "今天空气很差" in {row["answer"] for row in rows}
    name, body = fetched("report")
    assert name == "e-report.html" and "今天" in body.decode() and b"<script" not in body
    assert tickets.downloads == {}


# ---- a new one, and scoring anew ----


def test_the_form_of_a_trained_run_is_filled_from_its_training(ask: Ask, workspace: Workspace) -> None:
    run = workspace.saves / "run" / "checkpoint-3"
    run.mkdir(parents=True)
    tree = {
        "model": {"path": "models/mine", "adapters": ["saves/one", "saves/two"], "dtype": "float32"},
        "quantization": {"type": "4bit"},
        "data": {"datasets": ["d"], "validation_datasets": ["held"]},
    }
    (run.parent / "config.yaml").write_text(json.dumps(tree), encoding="utf-8")
    found = evaluation_of(workspace, "saves/run/checkpoint-3")
    assert found is not None and found.model.path == "models/mine" and found.model.dtype == "float32"
    assert found.candidates.runs == ["saves/run/checkpoint-3"] and found.candidates.merged == ["saves/one"]
    assert found.questions.datasets == ["held"] and found.quantization.type == "4bit"
    shown = ask("form", subject="saves/run")["shown"]
    assert shown["model.path"] == "models/mine" and shown["candidates.runs"] == ["saves/run"]
    checked = ask("check", values=shown)
    assert checked["blocked"] and "held" in checked["fields"]["questions.datasets"]["text"]
    assert ask("form", subject="saves/none")["shown"] == {}
    assert "outside the workspace" in ask("form", subject="../elsewhere")["error"]


def test_an_empty_form_says_quietly_what_is_still_to_choose(ask: Ask) -> None:
    form = ask("form")
    assert form["values"]["model.path"], "the first model is there already"
    checked = ask("check", values=form["values"])
    assert checked["blocked"] and checked["fields"]["questions.datasets"]["severity"] == "to-do"
    assert "at least one dataset" in ask("start", values=form["values"])["error"]


def test_a_start_queues_the_job_under_a_free_name(ask: Ask, workspace: Workspace, folder: Path) -> None:
    (workspace.models / "tiny").mkdir(parents=True)
    values = {**ask("form")["values"], "name": "e", "questions.datasets": "d", "model.path": "models/tiny"}
    assert ask("start", values=values)["name"] == "e-2"
    assert [line["name"] for line in ask("tick")["list"]["evaluations"]] == ["e-2", "e"]


def test_scores_can_be_chosen_anew_and_faults_stand_at_their_fields(
    ask: Ask, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, list[str]]] = []

    def start(_: Rescoring, name: str, words: Sequence[str]) -> None:
        begun.append((name, list(words)))

    monkeypatch.setattr(Rescoring, "start", start)
    form = ask("rescore_form", name="e")
    assert [section["name"] for section in form["sections"]] == ["scores"]
    assert form["shown"]["scores.names"] == ["chrf", "exact_match"]
    wrong = ask("rescore", name="e", values={"scores.names": "regex", "scores.pattern": "("})
    assert "scores.pattern" in wrong["fields"] and not begun
    values = {"scores.names": "exact_match\nregex", "scores.pattern": "^a"}
    assert "again" in ask("rescore", name="e", values=values)["message"]
    [(name, words)] = begun
    assert name == "e" and "scores.names=[exact_match, regex]" in words and "scores.resamples=100" in words


def test_a_running_evaluation_is_not_scored_anew(
    ask: Ask, folder: Path, view: EvaluateView, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = replace(view.supervisor.job("e"), state=State.RUNNING)

    def job(_: str) -> Job:
        return running

    monkeypatch.setattr(view.supervisor, "job", job)
    assert "while it runs" in ask("rescore", name="e", values={})["error"]
