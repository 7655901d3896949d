"""The Data tab's server side: a file comes in, is understood, listed, corrected, checked and made into others."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from studio.config.workspace import Workspace
from studio.data.damage import script
from studio.data.editing import Draft
from studio.data.examples import DataError
from studio.data.reading import KIND_WORDS, stream_entry
from studio.data.registry import FORMATTINGS, find_entry, load_registry, read_entry
from studio.data.report import TITLES
from studio.runs.supervisor import Supervisor
from studio.web.data_files import Tickets, add_routes, clean_name, expect
from studio.web.data_mapping import ROLES, TAGS
from studio.web.data_room import DataRoom, DataView
from studio.web.data_row_form import edited, form_of, new_value
from studio.web.security import LOOPBACK, Guard, Throttle
from studio.web.words import words

Ask = Callable[..., dict[str, Any]]
ALPACA = [{"instruction": f"What is {n}?", "input": "", "output": f"It is {n}."} for n in range(30)]
TALKS = [
    {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "x", "id": 2**60 + n}], "n": n}
    for n in range(12)
]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    made.data.mkdir()
    (made.data / "asks.json").write_text(json.dumps(ALPACA))
    lines = [json.dumps(row) for row in TALKS]
    lines[4] = '{"messages": [ half a row'
    (made.data / "talks.jsonl").write_text("\n".join(lines) + "\n")
    made.registry.write_text(
        json.dumps({
            "asks": {"file_name": "asks.json"},
            "talks": {"file_name": "talks.jsonl", "formatting": "openai"},
            "gone": {"file_name": "gone.json"},
        })
    )  # fmt: skip
    return made


@pytest.fixture
def room(workspace: Workspace) -> DataRoom:
    return DataRoom(workspace, Supervisor(workspace))


@pytest.fixture
def ask(room: DataRoom) -> Ask:
    view = DataView(room)
    return lambda action, **body: view.data({"action": action, "language": "en", **body})


@pytest.fixture
def client(room: DataRoom) -> TestClient:
    api = FastAPI()
    add_routes(api, room.workspace, room.tickets)
    return TestClient(Guard(api, LOOPBACK, Throttle()), base_url="http://127.0.0.1")  # type: ignore[arg-type]


def finished(ask: Ask, action: str, **body: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (reply := ask(action, **body)).get("working"):
        assert time.monotonic() < deadline, reply
        time.sleep(0.05)
    return reply


# ---- files on their way ----


def test_an_upload_lies_in_the_data_folder_under_a_free_name(
    ask: Ask, client: TestClient, workspace: Workspace
) -> None:
    body = b"question,answer\na,b\n"
    for expected in ("data/shop.csv", "data/shop-2.csv"):
        ticket = ask("add.upload", file="shop.csv", size=len(body))
        reply = client.put(ticket["put"], content=body)
        assert reply.json() == {"path": expected}
        assert (workspace.root / expected).read_bytes() == body
        assert client.put(ticket["put"], content=body).status_code == 404, "a ticket is for one file"
    assert sorted(path.name for path in workspace.data.glob(".upload-*")) == []


@pytest.mark.parametrize(("sent", "declared"), [(b"short", 50), (b"much too long", 3)])
def test_an_upload_that_is_not_what_was_promised_leaves_nothing(
    ask: Ask, client: TestClient, workspace: Workspace, sent: bytes, declared: int
) -> None:
    reply = client.put(ask("add.upload", file="x.json", size=declared)["put"], content=sent)
    assert reply.status_code == 400 and "did not arrive whole" in reply.json()["error"]
    assert not list(workspace.data.glob("*x*")) and not list(workspace.data.glob(".upload-*"))


def test_pages_of_other_sites_can_neither_put_nor_guess(ask: Ask, client: TestClient) -> None:
    ticket = ask("add.upload", file="x.json", size=2)["put"]
    assert client.put(ticket, content=b"[]", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.put("/data/upload/guess", content=b"[]").status_code == 404
    assert client.get("/data/download/guess").status_code == 404


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("my data (2).csv", "my-data-2.csv"),
        ("../../etc/x.json", "x.json"),
        ("C:\\Users\\me\\rows.jsonl", "rows.jsonl"),
        ("数据.json", "数据.json"),
        ("a.jsonl.gz", "a.jsonl.gz"),
        ("..hidden.txt", "hidden.txt"),
        ("<img src=x>.csv", "img-src-x.csv"),
    ],
)
def test_names_of_uploads_are_made_harmless(given: str, kept: str) -> None:
    assert clean_name(given) == kept


@pytest.mark.parametrize("given", ["x.exe", "x", ".json", "x.html", "x.json/"])
def test_files_that_are_no_data_are_refused(given: str) -> None:
    with pytest.raises(DataError, match="no data file"):
        clean_name(given)


def test_a_file_that_the_disk_cannot_hold_is_refused_before_it_is_sent(workspace: Workspace) -> None:
    with pytest.raises(DataError, match="are free on the disk"):
        expect(workspace, Tickets(), "huge.jsonl", 1 << 60)
    with pytest.raises(DataError, match="empty"):
        expect(workspace, Tickets(), "empty.jsonl", 0)


# ---- adding and mapping ----


def test_a_csv_is_looked_at_mapped_and_listed(ask: Ask, workspace: Workspace) -> None:
    (workspace.data / "shop.csv").write_text("id,they_ask,we_say\n1,Where?,Here.\n2,,Soon.\n")
    look = ask("add.look", path="data/shop.csv")
    assert look["columns"] == ["id", "they_ask", "we_say"] and look["unknown"] and look["name"] == "shop"
    roles = {"they_ask": "prompt", "we_say": "response"}
    seen = ask("add.preview", path="data/shop.csv", roles=roles)
    assert [row.get("fault") for row in seen["rows"]] == [None, "'they_ask' is empty."]
    assert (seen["looked_at"], seen["faulty"]) == (2, 1)
    assert seen["rows"][0]["read"]["turns"][1] == {"who": "assistant", "said": "Here."}
    assert ask("add.save", path="data/shop.csv", name="shop", roles=roles)["name"] == "shop"
    assert "already" in ask("add.save", path="data/shop.csv", name="shop", roles=roles)["error"]
    assert "cannot be a name" in ask("add.save", path="data/shop.csv", name="../x", roles=roles)["error"]
    entry = json.loads(workspace.registry.read_text())["shop"]
    assert entry == {"file_name": "shop.csv", "columns": {"prompt": "they_ask", "response": "we_say"}}
    assert ask("add.look", path="data/shop.csv")["listed"] == ["shop"]


def test_detection_gives_its_reasons_and_its_roles(ask: Ask) -> None:
    look = ask("add.look", path="data/asks.json")
    assert look["roles"] == {"instruction": "prompt", "input": "query", "output": "response"}
    assert look["why"] == ["instruction asks and output answers."]
    assert look["name"] == "asks-2" and look["listed"] == ["asks"]
    talks = ask("add.look", path="data/talks.jsonl")
    assert talks["turns"]["messages"]["role"] == ["user", "assistant"] and talks["tags"]["assistant_tag"] == "assistant"


@pytest.mark.parametrize("path", ["../x.json", "/etc/passwd", "saves/run/log.txt", ".cache/x.json", "data/none.json"])
def test_only_data_of_the_workspace_can_be_added(ask: Ask, workspace: Workspace, path: str) -> None:
    for inner in ("saves/run/log.txt", ".cache/x.json"):
        (workspace.root / inner).parent.mkdir(parents=True, exist_ok=True)
        (workspace.root / inner).write_text("secret\n")
    for action in ("add.look", "add.preview", "add.save"):
        assert ask(action, path=path, name="x", roles={"text": "text"})["error"]


def test_a_file_of_an_allowed_folder_is_listed_by_its_whole_path(tmp_path: Path, workspace: Workspace) -> None:
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.mkdir()
    (elsewhere / "far.jsonl").write_text('{"text": "a"}\n')
    wide = Workspace(workspace.root, (elsewhere,))
    view = DataView(DataRoom(wide, Supervisor(wide)))
    body = {"path": str(elsewhere / "far.jsonl"), "name": "far", "roles": {"text": "text"}}
    assert view.data({"action": "add.save", **body})["name"] == "far"
    assert len(list(stream_entry(wide, find_entry(load_registry(wide), "far")))) == 1


def test_another_mapping_is_laid_over_the_entry_and_its_other_keys_stay(ask: Ask, workspace: Workspace) -> None:
    tree = json.loads(workspace.registry.read_text())
    tree["asks"] |= {"license": "CC0", "num_samples": 5}
    workspace.registry.write_text(json.dumps(tree))
    look = ask("columns.look", name="asks")
    assert look["roles"]["input"] == "query"
    assert (
        "new roles"
        in ask("columns.save", name="asks", roles={"instruction": "response", "output": "prompt"})["message"]
    )
    entry = json.loads(workspace.registry.read_text())["asks"]
    assert entry["license"] == "CC0" and entry["num_samples"] == 5
    row = ask("rows.page", name="asks", count=1)["rows"][0]
    assert [turn["said"] for turn in row["read"]["turns"]] == ["It is 0.", "What is 0?"]


# ---- the list ----


def test_the_list_comes_once_and_again_when_something_moved(ask: Ask, workspace: Workspace) -> None:
    first = ask("list.all")
    assert [(one["name"], one["rows"], bool(one["problem"])) for one in first["datasets"]] == [
        ("asks", 30, False),
        ("talks", 12, False),
        ("gone", None, True),
    ]
    assert ask("list.all", version=first["version"]) == {}
    Draft.open(workspace, "asks").remove([3, 4])
    again = ask("list.all", version=first["version"])
    assert again["datasets"][0]["unsaved"] == 2


def test_removing_asks_for_the_file_only_when_nobody_else_reads_it(ask: Ask, workspace: Workspace) -> None:
    tree = json.loads(workspace.registry.read_text()) | {"twin": {"file_name": "asks.json"}}
    workspace.registry.write_text(json.dumps(tree))
    assert "also read by twin" in ask("list.remove", name="asks", file=True)["error"]
    assert "asks" in load_registry(workspace)
    assert "no longer listed" in ask("list.remove", name="twin")["message"]
    assert (workspace.data / "asks.json").exists()
    assert "no longer listed" in ask("list.remove", name="asks", file=True)["message"]
    assert not (workspace.data / "asks.json").exists()


# ---- rows ----


def test_rows_are_edited_in_a_draft_and_saved_beside_the_file(ask: Ask, workspace: Workspace) -> None:
    page = ask("rows.page", name="talks", start=3, count=3)
    assert page["total"] == 12 and [row["row"] for row in page["rows"]] == [4, 5, 6]
    assert "not valid JSON" in page["rows"][1]["fault"]
    form = ask("rows.form", name="talks", place=4)
    assert form["json"] == '{"messages": [ half a row' and form["fields"] == []
    wrong = ask("rows.change", name="talks", place=4, edit={"json": "[1]"})
    assert "must be an object" in wrong["error"]
    whole = json.dumps({"messages": TALKS[4]["messages"]})
    assert "read" in ask("rows.change", name="talks", place=4, edit={"json": whole})["row"]
    added = ask("rows.add", name="talks", after=4, edit={"column": "messages", "turns": [
        {"old": 0, "who": "user", "said": "new?"}, {"old": 1, "who": "assistant", "said": "new."}]})  # fmt: skip
    assert added["row"]["place"] < 0 and added["draft"]["count"] == 2
    assert ask("rows.remove", name="talks", place=0)["draft"]["counts"] == {"changed": 1, "removed": 1, "added": 1}
    assert ask("rows.undo", name="talks")["draft"]["counts"]["removed"] == 0
    assert ask("rows.redo", name="talks")["draft"]["counts"]["removed"] == 1
    saved = ask("rows.save", name="talks")
    assert "talks.v2.jsonl" in saved["message"] and saved["draft"]["count"] == 0
    rows = [json.loads(line) for line in (workspace.data / "talks.v2.jsonl").read_text().splitlines()]
    assert len(rows) == 12 and rows[0] == TALKS[1] and rows[4]["messages"][0]["content"] == "new?"
    assert "half a row" in (workspace.data / "talks.jsonl").read_text()
    assert "is read from talks.jsonl" in ask("make.use", name="talks", file="talks.jsonl")["message"]


def test_search_goes_on_where_it_stopped_and_knows_findings(ask: Ask) -> None:
    found = ask("rows.search", name="asks", query="what is 2", count=4)
    assert [row["place"] for row in found["rows"]] == [2, 12, 20, 21] or len(found["rows"]) == 4
    more = ask("rows.search", name="asks", query="what is 2", start=found["next"], count=50)
    assert more["done"] and not {row["place"] for row in more["rows"]} & {row["place"] for row in found["rows"]}
    broken = ask("rows.search", name="talks", query="is:broken")
    assert [row["row"] for row in broken["rows"]] == [5]
    assert "is:nonsense" in ask("rows.search", name="talks", query="is:nonsense")["error"]


def test_a_form_changes_what_was_touched_and_nothing_else() -> None:
    entry = read_entry("t", {"file_name": "t.jsonl", "formatting": "openai"})
    row = TALKS[3] | {"meta": {"a": [1, 2]}, "note": "x"}
    form = form_of(row, entry)  # type: ignore[arg-type]
    assert [field["column"] for field in form["fields"]] == ["n", "meta", "note"]
    assert form["turns"]["list"][1] == {"old": 1, "who": "assistant", "said": "x", "more": ["id"]}
    turns = [{"old": 1, "who": "assistant", "said": "y"}]
    made = edited(row, entry, {"fields": {"note": "z"}, "column": "messages", "turns": turns})  # type: ignore[arg-type]
    assert made == row | {"note": "z", "messages": [{"role": "assistant", "content": "y", "id": 2**60 + 3}]}
    assert edited(row, entry, {"fields": {"n": "7"}})["n"] == 7  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not valid JSON"):
        edited(row, entry, {"fields": {"meta": "{"}})  # type: ignore[arg-type]


@pytest.mark.parametrize("formatting", ["alpaca", "sharegpt", "openai", "prompt", "text"])
@pytest.mark.parametrize("ranking", [False, True])
def test_an_empty_row_has_the_fields_that_its_format_needs(formatting: str, ranking: bool) -> None:
    if ranking and formatting in ("text", "prompt"):
        return
    entry = read_entry("t", {"file_name": "t.jsonl", "formatting": formatting, "ranking": ranking})
    form = form_of(new_value(entry, plain=False), entry)  # type: ignore[arg-type]
    assert form["fields"] or form["turns"]


def test_long_texts_are_cut_on_a_page_and_whole_when_asked_for(ask: Ask, workspace: Workspace) -> None:
    (workspace.data / "asks.json").write_text(json.dumps([{"instruction": "a" * 9000, "output": "b"}]))
    row = ask("rows.page", name="asks")["rows"][0]
    assert row["read"]["turns"][0]["said"].endswith("a…") and len(row["cells"]["instruction"]) < 2000
    whole = ask("rows.whole", name="asks", place=0)["row"]
    assert len(whole["read"]["turns"][0]["said"]) == len(whole["cells"]["instruction"]) == 9000


# ---- checks ----


def test_a_check_runs_beside_the_board_and_its_rows_can_be_taken_out(ask: Ask, workspace: Workspace) -> None:
    rows = [*ALPACA, ALPACA[3], {"instruction": "What is 5?", "output": ""}]
    (workspace.data / "asks.json").write_text(json.dumps(rows))
    opened = ask("checks.open", name="asks")
    assert opened["others"] == ["talks"] and "report" not in opened and not opened["working"]
    begun = ask("checks.start", name="asks", cutoff=100, near=False)
    assert begun["command"] == "studio data check asks --cutoff 100 --no-near"
    done = finished(ask, "checks.state", name="asks", cutoff=100, near=False)
    findings = {one["kind"]: one for one in done["report"]["findings"]}
    assert {kind: one["count"] for kind, one in findings.items()} == {"empty": 1, "duplicate": 1}
    assert findings["empty"]["examples"][0]["place"] == 31
    checked = next(one["checked"] for one in ask("list.all")["datasets"] if one["name"] == "asks")
    assert checked == {"findings": 2, "broken": 1}
    assert ask("checks.open", name="asks")["question"] == {"against": [], "cutoff": 100, "near": False}
    shown = ask("rows.search", name="asks", finding="duplicate", question=done["question"])
    assert [row["place"] for row in shown["rows"]] == [30]
    asked = {"name": "asks", "cutoff": 100, "near": False}
    assert "2 rows" in ask("checks.remove", **asked, kinds=["empty", "duplicate"])["message"]
    assert ask("rows.undo", name="asks")["draft"]["count"] == 0, "all of them are one step"
    with (workspace.data / "asks.json").open("a") as file:
        file.write("\n")
    assert "check it again" in ask("checks.remove", **asked, kinds=["empty"])["error"].lower()


def test_a_check_that_fails_says_why_and_one_that_is_stopped_says_nothing(ask: Ask, workspace: Workspace) -> None:
    assert "no dataset" in ask("checks.start", name="nobody")["error"]
    lines = (f'{{"instruction": "{n} {n * 7919}", "output": "{"word " * 40}{n}"}}\n' for n in range(60_000))
    (workspace.data / "long.jsonl").write_text("".join(lines))
    ask("add.save", path="data/long.jsonl", name="long", roles={"instruction": "prompt", "output": "response"})
    assert ask("checks.start", name="long")["working"]
    stopped = ask("checks.stop", name="long")
    assert not stopped["working"] and "report" not in stopped and "failed" not in stopped


# ---- new datasets ----


def test_split_runs_as_the_command_that_is_shown(ask: Ask, workspace: Workspace) -> None:
    form = {"name": "asks", "what": "split", "size": "0.1", "seed": "42", "train": "a_train", "held": "a_held"}
    command = "studio data split asks --size 0.1 --seed 42 --names a_train a_held"
    assert ask("make.preview", **form)["command"] == command
    begun = ask("make.start", **form)
    done = finished(ask, "make.state", work=begun["work"])
    assert done["code"] == 0 and done["output"] == "a_train: 27 rows written\na_held: 3 rows written"
    refused = finished(ask, "make.state", work=ask("make.start", **form)["work"])
    assert refused["code"] == 2 and "already" in refused["output"]
    assert {"a_train", "a_held"} <= set(load_registry(workspace))


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"what": "split", "size": "many", "seed": "1", "train": "a", "held": "b"}, "must be a number"),
        ({"what": "split", "size": "0.1", "seed": "1.5", "train": "a", "held": "b"}, "whole number"),
        ({"what": "merge", "parts": [{"name": "asks", "weight": "1"}], "to": "x"}, "second dataset"),
        ({"what": "convert", "format": "nonsense", "to": "x"}, "must be one of"),
        ({"what": "nonsense"}, "cannot be made"),
        ({"what": "convert", "format": "openai", "to": "--workspace=/"}, "begins with a hyphen"),
        (
            {
                "what": "merge",
                "format": "openai",
                "seed": "1",
                "to": "x",
                "parts": [{"name": "asks", "weight": "1"}, {"name": "--allow=/", "weight": "1"}],
            },
            "begins with a hyphen",
        ),
    ],
)
def test_what_cannot_be_made_is_said_before_anything_runs(ask: Ask, form: dict[str, Any], says: str) -> None:
    assert says in ask("make.preview", name="asks", **form)["error"]


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
@pytest.mark.parametrize("formatting", ["alpaca", "openai"])
def test_a_download_holds_the_same_rows(
    ask: Ask, client: TestClient, workspace: Workspace, ending: str, formatting: str
) -> None:
    link = ask("make.download", name="asks", format=formatting, ending=ending)["link"]
    reply = client.get(link)
    assert f"asks.{formatting}.{ending}" in reply.headers["content-disposition"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert client.get(link).status_code == 404
    (workspace.data / f"again.{ending}").write_bytes(reply.content)
    entry = {"file_name": f"again.{ending}", "formatting": formatting}
    workspace.registry.write_text(json.dumps({"asks": {"file_name": "asks.json"}, "again": entry}))
    registry = load_registry(workspace)
    old, new = (list(stream_entry(workspace, find_entry(registry, name))) for name in ("asks", "again"))
    assert [row.messages for row in new] == [row.messages for row in old]  # type: ignore[union-attr]


def test_a_download_with_broken_rows_says_so_before_it_begins(ask: Ask, client: TestClient) -> None:
    form = {"name": "talks", "format": "alpaca", "ending": "jsonl"}
    assert "row 5 of data/talks.jsonl" in ask("make.download", **form)["error"]
    assert len(client.get(ask("make.download", **form, skip=True)["link"]).content.splitlines()) == 11
    whole = client.get(ask("make.download", name="talks", format="as_it_is")["link"])
    assert b"half a row" in whole.content


def test_what_the_page_should_not_ask_is_refused_without_a_traceback(ask: Ask) -> None:
    assert "Unknown action" in ask("rows.__init__")["error"]
    assert "names no name" in ask("rows.page")["error"]
    assert "whole number" in ask("rows.page", name="asks", start="x")["error"]
    assert "no such work" in ask("make.state", work="../../etc")["error"]
    assert "no dataset" in ask("rows.page", name="nobody")["error"]


def test_every_value_that_completes_a_text_of_the_tab_has_one() -> None:
    wanted = {
        "page.data.findings.": TITLES,
        "page.data.advice.": TITLES,
        "page.data.roles.": (*ROLES, "none"),
        "page.data.speakers.": (*TAGS, "none"),
        "page.data.formats.": FORMATTINGS,
        "page.data.kinds.": KIND_WORDS.keys(),
        "page.data.scripts.": map(script, ("a", "中", "か", "한", "Я", "ع", "न", "ก", "α", "ש", "12")),
        "page.data.who.": ("system", "user", "assistant", "tool", "text", "chosen", "rejected"),
        "page.data.form.who.": ("user", "assistant", "system", "tool", "call"),
    }
    known = words("en")
    assert [
        prefix + value for prefix, values in wanted.items() for value in values if prefix + value not in known
    ] == []
