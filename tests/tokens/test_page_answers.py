"""What the Tokens view is told by the server: settings from the schema, and questions with a checked config."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.runs.inspector import Inspector
from studio.runs.supervisor import Supervisor
from studio.web.data_room import DataRoom
from studio.web.data_tokens import TokenViews
from studio.web.providers import providers

STUB = (sys.executable, str(Path(__file__).with_name("stub_helper.py")))
FORM = """HF_TOKEN="$HF_TOKEN" studio train \\
    model.path=models/a \\
    'data.datasets=[chat, turns]' \\
    data.cutoff_len=77"""


@pytest.fixture
def views(data_workspace: Path) -> Iterator[TokenViews]:
    workspace = Workspace(data_workspace)
    room = DataRoom(workspace, Supervisor(workspace))
    made = TokenViews(room, Inspector(workspace, STUB), providers(workspace, room.supervisor))
    yield made
    made.inspector.close()


def request(**more: Any) -> dict[str, Any]:
    return {"language": "en", "base": "form", "command": FORM, "changes": {}, **more}


def values(reply: dict[str, Any]) -> dict[str, Any]:
    return {field["path"]: field["value"] for field in reply["fields"]}


def test_fields_hold_what_the_form_holds(views: TokenViews) -> None:
    reply = views.settings(request())
    assert values(reply)["data.cutoff_len"] == 77 and values(reply)["model.path"] == "models/a"
    assert reply["datasets"] == ["chat", "turns"]
    assert all(field["label"] and field["info"] for field in reply["fields"])


def test_without_a_form_the_first_model_is_taken(views: TokenViews) -> None:
    reply = views.settings(request(command=""))
    assert values(reply)["model.path"] == "models/SmolLM2-135M-Instruct"
    assert reply["datasets"] == []


def test_changes_lie_over_the_form_and_a_bad_one_is_refused_with_its_field(views: TokenViews) -> None:
    reply = views.settings(request(changes={"data.cutoff_len": 31, "stage.type": "pretrain"}))
    assert values(reply)["data.cutoff_len"] == 31 and "error" not in reply
    assert "stage.mask_history" not in values(reply), "plain text has no history"
    bad = views.settings(request(changes={"data.cutoff_len": 1}))
    assert "data.cutoff_len" in bad["error"]
    assert values(bad)["data.cutoff_len"] == 77


def test_a_question_carries_the_whole_config_with_the_dataset_alone(views: TokenViews) -> None:
    body = views.row(request(name="chat", place=3))
    assert body["places"] == [3] and body["name"] == "chat"
    assert body["config"]["data"]["datasets"] == ["chat"] and body["config"]["data"]["cutoff_len"] == 77


def test_settings_of_a_run_can_be_had(views: TokenViews) -> None:
    config = json.dumps({"model": {"path": "b/c"}, "data": {"datasets": ["chat"]}})
    views.room.supervisor.submit("mine", "train", config, hold=True)
    assert views.settings(request())["runs"] == ["mine"]
    assert values(views.settings(request(base="mine")))["model.path"] == "b/c"


def test_a_count_is_begun_polled_and_cancelled(data_workspace: Path, views: TokenViews) -> None:
    asked = views.inspector.begin("count", {})
    assert views.poll(request(ticket=asked.ticket))["ticket"] == asked.ticket
    views.cancel(request(ticket=asked.ticket))
    assert asked.ended.wait(20)
    assert views.poll(request(ticket=asked.ticket)) == {"ended": True, "cancelled": True}
    begun = views.scan(request(name="chat"))
    while not begun.get("ended"):
        begun = views.poll(request(ticket=begun["ticket"]))
    assert begun["name"] == "chat"


@pytest.mark.parametrize(
    ("verb", "more", "words"),
    [
        ("row", {"name": "chat", "changes": {"model.path": "/etc"}}, "workspace"),
        ("row", {"name": "chat", "changes": {"model.path": "../../elsewhere"}}, "workspace"),
        ("row", {}, "names no name"),
        ("row", {"name": "chat", "place": "x"}, "whole number"),
        ("row", {"name": "chat", "base": "../data"}, "name"),
        ("poll", {"ticket": 99}, "not known any more"),
        ("render", {"messages": []}, "at least one turn"),
        ("render", {"messages": [{"role": "user"}]}, "at least one turn"),
        ("render", {"messages": "hi"}, "at least one turn"),
    ],
)
def test_what_makes_no_sense_is_answered_with_a_sentence(
    data_workspace: Path, verb: str, more: dict[str, Any], words: str
) -> None:
    from studio.web.data_room import DataView

    workspace = Workspace(data_workspace)
    view = DataView(DataRoom(workspace, Supervisor(workspace)))
    assert words in view.data({"action": f"tokens.{verb}", **request(**more)})["error"]


def test_the_page_of_settings_names_only_settings_that_exist() -> None:
    from studio.config.leaves import leaves
    from studio.config.token_settings import BASIC, CUTOFF, FURTHER
    from studio.config.train import TrainConfig

    known = {leaf.path for leaf in leaves(TrainConfig)}
    assert set(BASIC) | set(FURTHER) | {CUTOFF} <= known
