"""The Export tab's server side: what is offered, what each step says beforehand, the start, and what came of it."""

from __future__ import annotations

import json
import shutil
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from studio.config.export import ExportConfig
from studio.config.io import parse
from studio.config.leaves import groups
from studio.config.workspace import Workspace
from studio.runs import export_plan, export_prospect
from studio.runs.devices import machine_facts
from studio.runs.engines import ENGINES, MARK
from studio.runs.export_prospect import FEW_BITS
from studio.runs.export_results import uses
from studio.runs.states import State
from studio.runs.supervisor import Supervisor
from studio.web.export_steps import STEPS, sections_of
from studio.web.export_view import ExportView
from studio.web.words import languages, words

Ask = Callable[..., dict[str, Any]]
SHAPES = {"model.embed_tokens.weight": (100, 8), "model.layers.0.mlp.up_proj.weight": (16, 8)}
WEIGHTS = 2 * (800 + 128)
ADAPTER = {"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight": (4, 8)}


def write_weights(file: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A safetensors file of zeros in bf16."""
    header, place = dict[str, Any](), 0
    for name, (height, width) in shapes.items():
        size = 2 * height * width
        header[name] = {"dtype": "BF16", "shape": [height, width], "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(place))


def write_adapter(folder: Path) -> None:
    write_weights(folder / "adapter_model.safetensors", ADAPTER)
    settings = {"peft_type": "LORA", "base_model_name_or_path": "models/base", "r": 4}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A model, a finished LoRA run with a checkpoint, and a run that left nothing."""
    base, run = tmp_path / "models/base", tmp_path / "saves/tuned"
    base.mkdir(parents=True)
    write_weights(base / "model.safetensors", SHAPES)
    for name in ("config.json", "tokenizer.json"):
        (base / name).write_text("{}")
    config = parse({"model": {"path": "models/base"}, "data": {"datasets": ["chat"]}}).model_dump(mode="json")
    for folder in (run, tmp_path / "saves/empty"):
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    write_adapter(run)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/chat.json").write_text(json.dumps([{"instruction": "Who?", "output": "I."}]))
    (tmp_path / "dataset_info.json").write_text(json.dumps({"chat": {"file_name": "chat.json"}}))
    return Workspace(tmp_path)


@pytest.fixture
def view(workspace: Workspace) -> ExportView:
    return ExportView(workspace, Supervisor(workspace, (sys.executable, "-c", "pass")))


@pytest.fixture
def ask(view: ExportView) -> Ask:
    def call(action: str, language: str = "en", **request: Any) -> dict[str, Any]:
        return view.export({"action": action, "language": language, **request})

    return call


@pytest.fixture
def check(ask: Ask) -> Ask:
    """A function (changes, begun="saves/tuned", language) that fills the form and asks what it amounts to."""

    def call(changes: dict[str, Any], begun: str = "saves/tuned", language: str = "en") -> dict[str, Any]:
        form = ask("form", **{"from": begun})
        values = {**form["values"], **form["shown"], **changes}
        return ask("check", language=language, values=values, since=form["since"])

    return call


def texts(reply: dict[str, Any], step: str, severity: str = "") -> list[str]:
    found = reply["steps"][STEPS.index(step)]["findings"]
    return [one["text"] for one in found if severity in ("", one["severity"])]


def test_every_section_of_the_schema_stands_in_one_step() -> None:
    shown = [name for step in sections_of(ExportConfig) for name in step]
    assert len(sections_of(ExportConfig)) == len(STEPS) == 5
    assert sorted(shown) == sorted([*(group.name for group in groups(ExportConfig)), ""])


def test_what_could_be_exported_is_offered_with_the_settings_that_choose_it(ask: Ask) -> None:
    form = ask("form")
    assert [offer["name"] for offer in form["runs"]] == ["tuned"], "the run without weights is not offered"
    assert form["runs"][0]["about"] == "base · lora · sft"
    assert "saves/tuned" in form["runs"][0]["values"].values()
    assert [offer["name"] for offer in form["models"]] == ["base"]
    keys = set(form["runs"][0]["values"])
    assert keys == set(form["models"][0]["values"]), "choosing a model takes the run out again"


def test_a_form_begun_from_a_run_can_be_started_as_it_is(ask: Ask, check: Ask) -> None:
    reply = check({})
    assert [step["ready"] for step in reply["steps"]] == [True] * 5 and not reply["blocked"]
    assert texts(reply, "what") == ["models/base → saves/tuned"]
    assert texts(reply, "where")[0].startswith("exports/tuned-merged-")
    assert "studio export" in reply["command"] and "saves/tuned" in reply["command"]
    assert reply["steps"][1]["summary"].startswith("Merged model")


def test_nothing_chosen_is_said_quietly_and_holds_the_wizard_at_its_first_step(ask: Ask) -> None:
    form = ask("form")
    reply = ask("check", values=form["values"], since=form["since"])
    assert reply["blocked"] and not reply["steps"][0]["ready"]
    assert {said["severity"] for said in reply["fields"].values()} == {"to-do"}


def test_a_run_that_is_not_there_is_said_at_the_first_step(check: Ask) -> None:
    reply = check({}, begun="saves/none")
    assert reply["blocked"] and not reply["steps"][0]["ready"]
    assert "There is no run saves/none" in texts(reply, "what", "fault")[0]


def test_a_damaged_weight_file_is_found_before_the_start(check: Ask, workspace: Workspace) -> None:
    file = workspace.root / "models/base/model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    reply = check({})
    assert reply["blocked"] and "Copy or download it again" in texts(reply, "what", "fault")[0]


def test_a_missing_tokenizer_is_found_before_the_start(check: Ask, workspace: Workspace) -> None:
    (workspace.root / "models/base/tokenizer.json").unlink()
    assert "no tokenizer" in texts(check({}), "what", "fault")[0]


def test_a_folder_that_is_there_is_refused_until_replacing_it_is_asked_for(check: Ask, workspace: Workspace) -> None:
    (workspace.exports / "old").mkdir(parents=True)
    (workspace.exports / "old" / "weights").write_bytes(bytes(3000))
    reply = check({"destination.folder": "exports/old"})
    assert reply["blocked"] and not reply["steps"][2]["ready"]
    assert texts(reply, "where", "fault") == [
        "exports/old exists already. Choose another folder, or tick that it may be replaced."
    ]
    asked = check({"destination.folder": "exports/old", "destination.overwrite": True})
    assert not asked["blocked"]
    assert texts(asked, "where") == ["exports/old (2.9 KB) is removed when the new one stands."]


def test_a_folder_outside_the_workspace_is_refused(check: Ask, tmp_path: Path) -> None:
    reply = check({"destination.folder": str(tmp_path.parent / "elsewhere")})
    assert reply["blocked"] and "outside the workspace" in texts(reply, "where", "fault")[0]


class Usage(NamedTuple):
    """As shutil.disk_usage gives it, in bytes."""

    total: int
    used: int
    free: int


def nearly_full(_: Path) -> Usage:
    return Usage(2**30, 2**30 - 2**20, 2**20)


def test_too_little_room_on_the_disk_blocks_with_the_numbers(check: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_plan.shutil, "disk_usage", nearly_full)
    reply = check({})
    assert reply["blocked"] and not reply["steps"][3]["ready"]
    assert texts(reply, "checks", "fault") == [
        "It needs 32.0 MB on the disk, and only 1.0 MB are free. Free some space, choose a smaller format, or another "
        "disk."
    ]


def test_too_little_memory_is_warned_of_and_does_not_block(check: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = machine_facts()
    monkeypatch.setattr(
        export_prospect, "machine_facts", lambda: type(facts)(facts.processor, facts.cores, 0.0, 2**30, 2**20)
    )
    reply = check({})
    assert not reply["blocked"] and len(texts(reply, "checks", "hint")) == 2
    assert all("1.0 MB are available" in text for text in texts(reply, "checks", "hint"))


def test_a_missing_engine_is_named_with_the_command_that_installs_it(check: Ask, workspace: Workspace) -> None:
    gptq = {"format.type": "gptq", "format.gptq.group_size": "-1"}
    reply = check(gptq)
    found = [one for one in reply["steps"][3]["findings"] if one["severity"] == "fault"]
    assert [one["command"] for one in found] == ["studio engines install gptq"] and reply["blocked"]
    engine = ENGINES["gptq"]
    folder = workspace.engines / "gptq"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    (folder / MARK).write_text(json.dumps({"pins": [*engine.first, *engine.pins]}))
    assert not check(gptq)["blocked"], "an engine that was installed meanwhile is seen"


def test_llama_cpp_is_needed_for_k_quants_and_only_recommended_for_simple_types(check: Ask) -> None:
    simple = check({"format.type": "gguf", "format.gguf.quantization": "q8_0"})
    assert not simple["blocked"] and any("llama-cpp" in text for text in texts(simple, "checks", "hint"))
    k_quant = check({"format.type": "gguf", "format.gguf.quantization": "q4_k_m"})
    assert k_quant["blocked"] and any("llama-cpp" in text for text in texts(k_quant, "checks", "fault"))


def test_gptq_of_a_model_without_a_run_asks_for_data(check: Ask) -> None:
    reply = check({"format.type": "gptq"}, begun="models/base")
    assert any("no dataset is chosen" in text for text in texts(reply, "checks", "fault"))


def test_datasets_of_the_run_that_are_gone_are_missed_before_the_start(check: Ask, workspace: Workspace) -> None:
    (workspace.data / "chat.json").unlink()
    assert any("chat cannot be read any more" in text for text in texts(check({}), "checks", "fault"))
    assert not check({"verification.compare": False})["blocked"]
    assert not check({"verification.rows": 0})["blocked"]


@pytest.mark.parametrize("bits", sorted(FEW_BITS))
def test_few_bits_of_a_small_model_are_warned_of_with_what_was_measured(check: Ask, bits: str) -> None:
    reply = check({"format.type": "gptq", "format.gptq.bits": bits})
    assert any(f"{FEW_BITS[bits]:,g} times" in text for text in texts(reply, "checks", "hint"))
    usual = check({"format.type": "gptq", "format.gptq.bits": "4"})
    assert not any("times" in text for text in texts(usual, "checks", "hint"))


def test_what_an_earlier_export_has_measured_is_told(check: Ask, workspace: Workspace) -> None:
    write_results(workspace, "before", {"type": "gguf", "quantization": "q4_0"}, before=20.0, after=25.0)
    reply = check({"format.type": "gguf", "format.gguf.quantization": "q4_0"})
    assert "Measured here before, by before: perplexity 20 became 25 (+25.0 %)." in texts(reply, "checks", "hint")
    other = check({"format.type": "gguf", "format.gguf.quantization": "q8_0"})
    assert not any("Measured" in text for text in texts(other, "checks"))


def test_an_upload_needs_a_token_in_the_environment(check: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    reply = check({"destination.hub_id": "owner/name"})
    assert reply["blocked"] and "needs HF_TOKEN" in texts(reply, "checks", "fault")[0]
    monkeypatch.setenv("HF_TOKEN", "secret-value")
    allowed = check({"destination.hub_id": "owner/name"})
    assert not allowed["blocked"] and "secret-value" not in json.dumps(allowed)


def test_a_base_on_a_hub_is_said_to_be_fetched_first(check: Ask) -> None:
    reply = check({}, begun="owner/name")
    assert not reply["blocked"]
    assert "owner/name is not on this machine" in texts(reply, "what", "hint")[0]


@pytest.mark.parametrize("language", [language for language in languages() if language != "en"])
def test_the_steps_speak_the_language_of_the_page(check: Ask, language: str) -> None:
    reply = check({}, language=language)
    assert texts(reply, "checks")[0] == words(language)["page.export.findings.size"].format(size="1.8 KB")
    assert texts(check({}), "checks")[0] == "About 1.8 KB will come out."
    assert round(WEIGHTS / 1024, 1) == 1.8


def test_the_started_run_has_the_name_and_the_folder_that_the_steps_showed(ask: Ask, view: ExportView) -> None:
    form = ask("form", **{"from": "saves/tuned"})
    values = {**form["values"], **form["shown"]}
    shown = texts(ask("check", values=values, since=form["since"]), "where")[0]
    held = view.supervisor  # nothing may start in this test: the queue is not what it is about
    started = ask("start", values=values, since=form["since"])
    assert f"exports/{started['name']}" == shown
    assert held.folder(started["name"]).config_text().startswith(f"name: {started['name']}\n")
    second = ask("start", values=values, since=form["since"])
    assert second["name"] != started["name"], "the same wizard pressed twice makes a second run"


def test_a_start_that_would_fail_is_refused_with_the_reason(ask: Ask) -> None:
    form = ask("form", **{"from": "saves/none"})
    reply = ask("start", values={**form["values"], **form["shown"]}, since=form["since"])
    assert "There is no run saves/none" in reply["error"]
    form = ask("form", **{"from": "saves/tuned"})
    reply = ask("start", values={**form["values"], **form["shown"], "format.type": "gptq"}, since=form["since"])
    assert reply["error"], "an engine is missing"


def write_results(
    workspace: Workspace, name: str, target: dict[str, Any], before: float = 10.0, after: float = 10.0, **more: Any
) -> dict[str, Any]:
    """A finished run's results and the export that they speak of."""
    place, run = workspace.exports / name, workspace.saves / name
    for folder in (place, run):
        folder.mkdir(parents=True, exist_ok=True)
    comparison = {"perplexity_before": before, "perplexity_after": after, "same_tokens": 0.5, "same_answers": 1,
                  "answers": 3, "largest_difference": 0.25}  # fmt: skip
    found = {"name": name, "folder": str(place), "format": target, "base": "models/base", "verdict": "good",
             "comparison": comparison, "size_bytes": 1234, **more}  # fmt: skip
    for file in (run / "results.json", place / "export.json"):
        file.write_text(json.dumps(found))
    return found


@pytest.fixture
def finished(ask: Ask, view: ExportView) -> Callable[..., str]:
    """A function (target, **results) that makes a finished export and gives its name."""

    def call(target: dict[str, Any], **more: Any) -> str:
        form = ask("form", **{"from": "saves/tuned"})
        name = ask("start", values={**form["values"], **form["shown"]}, since=form["since"])["name"]
        deadline = time.monotonic() + 30
        while view.supervisor.job(name).state is not State.FINISHED:  # its worker does nothing
            assert time.monotonic() < deadline
            time.sleep(0.05)
        write_results(view.workspace, name, target, **more)
        return name

    return call


def test_a_finished_export_is_shown_with_verdict_files_and_commands(ask: Ask, finished: Callable[..., str]) -> None:
    name = finished({"type": "gguf", "quantization": "q8_0"}, file="x-q8_0.gguf")
    reply = ask("tick", name=name)
    line, result = reply["list"]["exports"][0], reply["head"]["result"]
    assert (line["name"], line["verdict"], line["size"]) == (name, "good", 1234)
    assert result["stands"] and result["shown_folder"] == f"exports/{name}"
    assert result["comparison"]["same_answers"] == 1
    assert [file for file, _ in result["files"]] == ["export.json"]
    commands = {use["code"]: use["text"] for use in result["uses"]}
    assert commands["ollama"] == f"cd exports/{name} && ollama create {name} -f Modelfile && ollama run {name}"
    assert commands["studio"] == f"studio serve model.path=exports/{name}/x-q8_0.gguf engine.type=llama-cpp"
    assert "resume" not in reply["head"]["actions"], "it stands: there is nothing to do again"
    again = ask("tick", name=name, list=reply["list"]["version"], head=reply["head"]["version"])
    assert set(again) == {"clock"}, "nothing moved, so nothing is sent"


def test_an_export_whose_folder_is_gone_says_so_and_can_be_made_again(
    ask: Ask, view: ExportView, finished: Callable[..., str]
) -> None:
    name = finished({"type": "merged"})
    shutil.rmtree(view.workspace.exports / name)
    head = ask("tick", name=name)["head"]
    assert not head["result"]["stands"] and head["result"]["uses"] == [] and "resume" in head["actions"]


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ({"type": "merged"}, {"studio": "studio serve model.path=exports/x", "transformers": 'from_pretrained("exp'}),
        ({"type": "bitsandbytes"}, {"studio": "studio serve", "transformers": "AutoModelForCausalLM"}),
        ({"type": "gptq"}, {"gptqmodel": 'GPTQModel.load("exports/x")', "vllm": "vllm serve exports/x"}),
        ({"type": "adapter"}, {"studio": "'serving.adapters=[exports/x]'", "peft": "PeftModel.from_pretrained("}),
    ],
    ids=lambda value: value.get("type", ""),
)
def test_every_format_says_how_it_is_used(workspace: Workspace, target: dict[str, Any], wanted: dict[str, str]) -> None:
    from studio.runs.export_results import read_results
    from studio.runs.folder import RunFolder

    write_results(workspace, "x", target)
    found = read_results(RunFolder(workspace.saves / "x"))
    assert found is not None
    commands = {use.code: use.text for use in uses(workspace, found)}
    assert {code: text in commands[code] for code, text in wanted.items()} == dict.fromkeys(wanted, True)
    for code in ("transformers", "peft", "gptqmodel"):
        compile(commands.get(code, ""), code, "exec")


def test_unknown_actions_and_missing_exports_are_answered_in_plain_words(ask: Ask) -> None:
    assert ask("explode")["error"] == "Unknown action 'explode'."
    assert ask("act", name="x", do="explode")["error"] == "Unknown action 'explode'."
    assert "There is no export none" in ask("tick", name="none")["missing"]
    assert ask("act", name="none", do="stop")["error"]


def test_every_text_that_the_page_can_need_is_there() -> None:
    found = words("en")
    for option in ("merged", "adapter", "bitsandbytes", "gptq", "gguf"):
        assert f"page.export.about.{option}" in found
    for verdict in ("good", "lossy", "bad", "not compared"):
        assert f"page.export.verdicts.{verdict}" in found and f"page.export.verdict_says.{verdict}" in found
