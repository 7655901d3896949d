"""The Train tab's server function: every setting is offered, and what the page shows of a form is what would run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.config.combinations import refused
from studio.config.io import parse
from studio.config.leaves import leaves, members
from studio.config.offered import UNIONS, chosen_types, refused_members
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.runs.folder import RunFolder
from studio.runs.supervisor import Supervisor
from studio.web.chart_places import FIRST, ordered, title
from studio.web.providers import providers
from studio.web.start import Starter
from studio.web.train_room import TrainRoom, TrainView
from tests.conftest import write_dataset

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def room(tmp_path: Path) -> TrainRoom:
    workspace = Workspace(tmp_path)
    supervisor = Supervisor(workspace)
    (tmp_path / "data").mkdir()
    write_dataset(tmp_path, "talk", [{"instruction": f"Say {row}", "output": str(row)} for row in range(12)])
    return TrainRoom(workspace, supervisor, Starter(workspace, supervisor))


@pytest.fixture
def ask(room: TrainRoom) -> Ask:
    view = TrainView(room)
    fresh = view.train({"action": "form.draw"})
    first = {**fresh["values"], **fresh["shown"], "data.datasets": ["talk"]}

    def asked(action: str, changes: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        return view.train({"action": action, "values": {**first, **(changes or {})}, **more})

    return asked


def test_every_setting_is_drawn_once_and_every_choice_has_a_provider(ask: Ask, room: TrainRoom) -> None:
    drawn = [field["key"] for section in ask("form.draw")["sections"] for field in section["fields"]]
    assert sorted(drawn) == sorted(leaf.key for leaf in leaves(TrainConfig))
    wanted = {leaf.choices.provider for leaf in leaves(TrainConfig) if leaf.choices is not None}
    assert wanted <= set(providers(room.workspace, room.supervisor))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_member_of_a_union_says_what_it_is(ask: Ask, language: str) -> None:
    fields = [
        field for section in ask("form.draw", language=language)["sections"] for field in section["fields"]
        if field["kind"] == "type"
    ]  # fmt: skip
    assert len(fields) == 3
    for field in fields:
        assert set(field["abouts"]) == {choice["value"] for choice in field["choices"]}
        assert all(len(about) > 5 for about in field["abouts"].values())


def test_only_datasets_that_fit_the_stage_are_offered(ask: Ask, room: TrainRoom) -> None:
    pairs = [{"instruction": "Say", "chosen": "yes", "rejected": "no"}]
    write_dataset(room.workspace.root, "pairs", pairs, ranking=True, columns={"prompt": "instruction"})
    assert ask("form.check")["unfit"]["data.datasets"] == ["pairs"]
    assert ask("form.check", {"stage.type": "dpo"})["unfit"]["data.datasets"] == ["talk"]


def test_a_fresh_form_can_be_started_once_a_dataset_is_chosen(ask: Ask) -> None:
    fresh = ask("form.check", {"data.datasets": []})
    assert fresh["blocked"] and [one["severity"] for one in fresh["notices"]] == ["to-do"]
    ready = ask("form.check")
    assert not ready["blocked"] and "LoRA rank 16" in ready["sentence"] and "12 rows" in ready["sentence"]
    assert parse(yaml.safe_load(ready["yaml"])) == parse(ready["tree"])
    assert ready["types"] == {"stage": "sft", "method": "lora", "quantization": "none"} and not ready["online"]


def test_the_sentence_names_another_stage_and_the_rank_of_any_method(ask: Ask) -> None:
    said = ask("form.check", {"stage.type": "dpo", "method.type": "bitlora", "method.bitlora.rank": "4"})["sentence"]
    assert said.startswith("DPO: BitLoRA rank 4 on ")


def test_a_fault_belongs_to_the_field_of_the_chosen_member(ask: Ask) -> None:
    reply = ask("form.check", {"method.type": "bitlora", "method.bitlora.rank": "zero"})
    assert set(reply["fields"]) == {"method.bitlora.rank"}
    assert reply["notices"][0]["key"] == "method.bitlora.rank" and reply["yaml"] == ""


def test_a_refused_pair_says_why_at_its_field_and_at_what_could_not_be_chosen(ask: Ask) -> None:
    reply = ask("form.check", {"method.type": "full", "quantization.type": "4bit"})
    said = reply["fields"]["quantization.type"]
    assert reply["blocked"] and said["severity"] == "fault"
    assert reply["refused"]["quantization.type"]["4bit"] == said["text"]
    assert "none" not in reply["refused"]["quantization.type"] and "lora" not in reply["refused"]["method.type"]
    assert reply["refused"]["method.type"]["full"] == said["text"]
    assert reply["refused"]["stage.type"] == {}, "no stage would help"


def test_what_is_marked_is_what_the_rules_refuse() -> None:
    """Over all pairs of method and quantization: a marked member has a fault of its own, an unmarked one has none."""
    every = {name: {tag: one.model_construct() for tag, one in members(TrainConfig, name).items()} for name in UNIONS}
    for stage in every["stage"]:
        for method in every["method"]:
            types = {"stage": stage, "method": method, "quantization": "none"}
            marked = refused_members(types)["quantization.type"]
            alone = {
                fault.code
                for fault in refused(every["stage"][stage], every["method"][method], every["quantization"]["none"])
            }
            for tag, quantization in every["quantization"].items():
                own = {fault.code for fault in refused(every["stage"][stage], every["method"][method], quantization)}
                assert (tag in marked) == bool(own - alone)


def test_types_that_nobody_knows_fall_back_to_the_default() -> None:
    assert chosen_types({"stage.type": "magic"}) == {"stage": "sft", "method": "lora", "quantization": "none"}


def test_a_name_that_is_taken_becomes_a_question(ask: Ask, room: TrainRoom) -> None:
    assert ask("form.start", {"name": "one"}, hold=True) == {"name": "one"}
    assert room.supervisor.job("one").held
    asked = ask("form.start", {"name": "one"}, hold=True)
    assert "There is a run named one already" in asked["question"]
    assert ask("form.start", {"name": "one"}, hold=True, if_exists="rename") == {"name": "one-2"}


def test_what_cannot_start_says_so_in_the_language_of_the_page(ask: Ask) -> None:
    reply = ask("form.start", {"method.lora.rank": "0"}, language="zh")
    assert "method.rank" in reply["error"] and "太小" in reply["error"]


def test_settings_come_from_a_file_or_from_a_run_and_the_name_stays_there(ask: Ask, room: TrainRoom) -> None:
    loaded = ask(
        "form.load", name="run.yaml", text="model: {path: a/b}\ndata: {datasets: [talk]}\nmethod: {rank: 24}\n"
    )["shown"]
    assert loaded["model.path"] == "a/b" and loaded["method.lora.rank"] == "24"
    assert "run.yaml" in ask("form.load", name="run.yaml", text="method: {rank: nonsense}")["error"]
    ask("form.start", {"name": "kept", "method.lora.rank": "5"}, hold=True)
    taken = ask("form.take", run="kept")
    assert taken["shown"]["method.lora.rank"] == "5" and not taken["shown"]["name"]
    assert ask("form.take", run="../etc")["error"]
    assert RunFolder(room.workspace.saves / "kept").config_text()


def test_the_charts_of_a_stage_stand_where_they_are_looked_for() -> None:
    assert ordered(["step", "grad_norm", "eval_loss", "loss", "odd"]) == ["loss", "eval_loss", "grad_norm", "odd"]
    online = ordered(["loss", "kl", "rewards/length/mean", "rewards/length/std", "reward", "learning_rate"])
    assert online == ["reward", "rewards/length/mean", "kl", "learning_rate", "rewards/length/std", "loss"]
    compared = ordered(["loss", "logps/chosen", "rewards/margins", "eval_rewards/margins", "rewards/accuracies"])
    assert compared == ["loss", "rewards/accuracies", "rewards/margins", "eval_rewards/margins", "logps/chosen"]
    assert all(title("zh", key) != title("en", key) for key in (*FIRST, "eval_rewards/margins", "rewards/length"))
