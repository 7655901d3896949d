"""What the Generate view of the Data tab asks the server for, and what it is told."""

from __future__ import annotations

from typing import Any

import pytest

from studio.config.generate import GenerateConfig
from studio.config.leaves import leaves
from studio.data.generated import FILE, Finished, WrittenRow, append_line
from studio.web.data_review import ROWS_A_PAGE, actions
from studio.web.data_room import DataRoom, DataView
from tests.fake_endpoint import FakeEndpoint
from tests.generate.conftest import KEY, Study


class View:
    """The server's side of the panel, asked as the page asks it."""

    def __init__(self, study: Study) -> None:
        self._view = DataView(_room(study))

    def __call__(self, verb: str, language: str = "en", **body: Any) -> dict[str, Any]:
        return self._view.data({"language": language, "action": f"review.{verb}", **body})


def _room(study: Study) -> DataRoom:
    return DataRoom(study.workspace, study.supervisor)


@pytest.fixture
def view(study: Study) -> View:
    return View(study)


def shown(view: View, **changes: Any) -> dict[str, Any]:
    """What the form shows when somebody has filled it in."""
    filled = {"endpoint.base_url": "http://127.0.0.1:1/v1", "endpoint.model": "m", "source.seeds.dataset": "chat"}
    return {**view("form")["values"], **filled, **changes}


def test_the_form_has_every_setting_once_with_words_in_both_languages(view: View) -> None:
    for language in ("en", "zh"):
        sections = view("form", language)["sections"]
        fields = [field for section in sections for field in section["fields"]]
        assert [field["key"] for field in fields] == [leaf.key for leaf in leaves(GenerateConfig)]
        assert all(field["label"] and field["info"] for field in fields)
    by_key = {field["key"]: field for field in fields}
    assert {"label": "chat · 8", "value": "chat"} in by_key["source.seeds.dataset"]["choices"]
    assert [choice["value"] for choice in by_key["source.documents.paths"]["choices"]] == ["docs"]
    assert by_key["target.dialogue.prompt"]["long"] and not by_key["endpoint.model"]["long"]


def test_an_empty_form_asks_quietly_and_cannot_start(view: View) -> None:
    reply = view("check", values=view("form")["values"])
    assert reply["blocked"] and reply["command"] == ""
    assert {said["severity"] for said in reply["fields"].values()} == {"to-do"}


def test_faults_stand_at_their_field_and_the_command_has_no_key(view: View) -> None:
    reply = view("check", values=shown(view, **{"rows.count": "none", "endpoint.base_url": "x"}))
    assert set(reply["fields"]) == {"rows.count", "endpoint.base_url"} and reply["blocked"]
    reply = view("check", values=shown(view, **{"source.type": "documents", "source.documents.paths": "nowhere"}))
    assert "nowhere" in reply["fields"]["source.documents.paths"]["text"] and reply["blocked"]
    reply = view("check", values=shown(view, **{"rows.count": "7", "endpoint.price_out": "2"}))
    assert not reply["blocked"] and reply["fields"] == {} and reply["others"] == []
    assert reply["command"].startswith("studio data generate \\\n") and "rows.count=7" in reply["command"]
    assert "at least 3 requests" in reply["sentence"] and "up to 0.01229" in reply["sentence"]
    assert KEY not in str(reply)


def test_a_key_that_is_not_set_is_a_hint_beforehand(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    reply = view("check", values=shown(view))
    assert reply["fields"]["endpoint.key_variable"]["severity"] == "hint" and not reply["blocked"]


def test_a_start_is_refused_with_every_fault_or_queues_the_job(view: View, study: Study) -> None:
    reply = view("start", values=shown(view, **{"rows.count": "0"}))
    assert "rows.count" in reply["error"] and study.supervisor.jobs() == []
    with FakeEndpoint() as endpoint:
        values = shown(view, **{"rows.count": "5", "endpoint.base_url": endpoint.base_url, "name": "run"})
        assert view("start", values=values)["run"] == "run"
        study.over()
    (run,) = view("runs")["runs"]
    assert (run["name"], run["state"], run["counts"]["pending"]) == ("run", "finished", 5)
    assert "exists already" in view("start", values=values)["error"]


def test_rows_come_in_pages_and_only_when_something_moved(view: View, study: Study) -> None:
    with FakeEndpoint() as endpoint:
        study.begin(endpoint, rows={"count": 3})
        study.over()
    rows = tuple(WrittenRow((("user", f"Question {at}?"), ("assistant", "So."))) for at in range(40))
    append_line(study.folder.path / FILE, Finished("more", rows, origin="x").line())
    first = view("rows", run="run", state="pending")
    assert len(first["rows"]) == ROWS_A_PAGE and first["total"] == 43 and first["dataset"] == "run"
    assert view("rows", run="run", state="pending", version=first["version"]) == {}
    assert len(view("rows", run="run", state="pending", start=40)["rows"]) == 3

    assert view("decide", run="run", verdict="accept", rows=[2, 3]) == {}
    assert view("decide", run="run", verdict="reject", state="pending") == {}
    after = view("rows", run="run", state="rejected", version=first["version"])
    assert after["total"] == 41 and after["counts"]["accepted"] == 2 and after["can_undo"]
    value = {"messages": [{"role": "user", "content": "Mine?"}, {"role": "assistant", "content": "Yes."}]}
    assert view("edit", run="run", row=1, value=value, accept=True) == {}
    assert view("undo", run="run") == {}  # the acceptance
    assert view("rows", run="run", state="rejected")["rows"][0]["messages"][0]["content"] == "Mine?"
    reply = view("add", "zh", run="run", to="fresh")
    assert reply["dataset"] == "fresh" and "fresh" in reply["message"]


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("rows", {"run": "nobody"}),
        ("rows", {"run": "../run"}),
        ("rows", {}),
        ("decide", {"run": "nobody", "verdict": "accept"}),
        ("add", {"run": "nobody", "to": "x"}),
        ("nothing", {}),
    ],
)
def test_what_makes_no_sense_is_answered_with_a_sentence(view: View, verb: str, body: dict[str, Any]) -> None:
    assert view(verb, **body)["error"]


def test_every_verb_of_the_page_is_there(study: Study) -> None:
    assert set(actions(_room(study))) == {
        "form", "check", "start", "runs", "rows", "decide", "edit", "undo", "add",
    }  # fmt: skip
