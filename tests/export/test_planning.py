"""Before anything is written: what is meant, what it takes, and what is refused with its reason. No torch."""

from __future__ import annotations

import json
import shutil
import struct
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.config.export import ExportConfig
from studio.config.faults import ConfigError
from studio.config.io import check, command_of, override, parse
from studio.config.workspace import OutsideWorkspace, Workspace
from studio.runs import export_plan
from studio.runs.artifacts import BadArtifact, model_tensors, read_header
from studio.runs.errors import DiskFull
from studio.runs.export_plan import DestinationTaken, GroupsDoNotFit, check_groups, check_room, plan
from studio.runs.export_prospect import look_ahead
from studio.runs.export_subject import resolve

SHAPES = {
    "model.embed_tokens.weight": (100, 8),
    "model.layers.0.mlp.up_proj.weight": (16, 8),
    "model.norm.weight": (8,),
}
WEIGHTS = 2 * (800 + 128 + 8)


def write_weights(file: Path, shapes: dict[str, tuple[int, ...]], dtype: str = "BF16", item: int = 2) -> None:
    """A safetensors file of zeros."""
    header, place = dict[str, Any](), 0
    for name, shape in shapes.items():
        size = item
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(place))


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """A workspace with a model, a LoRA run with a checkpoint, and a fully trained run."""
    base = tmp_path / "models/base"
    base.mkdir(parents=True)
    write_weights(base / "model.safetensors", SHAPES)
    for name in ("config.json", "tokenizer.json"):
        (base / name).write_text("{}", encoding="utf-8")
    tree = {"model": {"path": "models/base", "chat_template": "chatml"}, "data": {"datasets": ["chat"]}}
    run = tmp_path / "saves/tuned"
    for folder in (run, run / "checkpoint-5"):
        folder.mkdir(parents=True)
        write_adapter(folder)
    (run / "config.yaml").write_text(yaml.safe_dump(parse(tree).model_dump(mode="json")))
    full = shutil.copytree(base, tmp_path / "saves/full")
    shutil.copyfile(run / "config.yaml", full / "config.yaml")
    return Workspace(tmp_path)


def write_adapter(folder: Path, base: str = "/elsewhere/base") -> None:
    module = "base_model.model.model.layers.0.mlp.up_proj"
    write_weights(
        folder / "adapter_model.safetensors", {f"{module}.lora_A.weight": (2, 8), f"{module}.lora_B.weight": (16, 2)}
    )
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")


def config(*words: str) -> ExportConfig:
    return parse(override({}, words), ExportConfig)


def test_a_run_brings_model_adapter_tokenizer_and_template(place: Workspace) -> None:
    for text, folder in (("saves/tuned", "tuned"), ("tuned", "tuned"), ("saves/tuned/checkpoint-5", "checkpoint-5")):
        found = resolve(place, config(f"subject.run={text}").subject)
        assert (found.base, found.base_folder, found.template) == ("models/base", place.models / "base", "chatml")
        assert [adapter.name for adapter in found.adapters] == [folder]
        assert found.tokenizer_folder == place.models / "base"
    full = resolve(place, config("subject.run=saves/full").subject)
    assert (full.base, full.adapters, full.base_folder) == ("saves/full", (), place.saves / "full")


def test_further_adapters_follow_those_of_the_run(place: Workspace) -> None:
    write_adapter(place.root / "models")
    found = resolve(place, config("subject.run=saves/tuned", "subject.adapters=[models]").subject)
    assert [adapter.name for adapter in found.adapters] == ["tuned", "models"]


def test_weights_that_were_quantized_in_training_are_said(place: Workspace) -> None:
    file = place.saves / "tuned/config.yaml"
    tree = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**tree, "quantization": {"type": "4bit"}}))
    assert "merged into the full-precision base" in resolve(place, config("subject.run=saves/tuned").subject).notes[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["subject.run=saves/none"], "There is no run saves/none"),
        (["subject.base=models/none"], "There is no model folder models/none"),
        (["subject.base=models/base", "subject.adapters=[models/base]"], "There is no adapter in models/base"),
        (["subject.base=saves/full", "subject.adapters=[saves/tuned]"], "was trained on /elsewhere/base, not on"),
        (["subject.run=../outside"], "lies outside the workspace"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_named(place: Workspace, words: list[str], said: str) -> None:
    with pytest.raises(BadArtifact, match=said):
        plan(place, config(*words), "out")


def test_a_reward_model_is_refused_before_the_work(place: Workspace) -> None:
    file = place.saves / "tuned/adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "task_type": "SEQ_CLS"}))
    (place.saves / "full/config.json").write_text(json.dumps({"architectures": ["LlamaForSequenceClassification"]}))
    for run in ("saves/tuned", "saves/full"):
        with pytest.raises(BadArtifact, match="A reward model lies in"):
            resolve(place, config(f"subject.run={run}").subject)


def test_a_run_without_weights_yet_is_named(place: Workspace) -> None:
    (place.saves / "tuned/adapter_config.json").unlink()
    with pytest.raises(BadArtifact, match="neither a model nor an adapter yet"):
        plan(place, config("subject.run=saves/tuned"), "out")


def test_damaged_files_are_found_without_reading_the_weights(place: Workspace) -> None:
    file = place.models / "base/model.safetensors"
    whole = file.read_bytes()
    for broken, said in (
        (whole[:-1], "bytes"),
        (whole[:20], "cut off"),
        (b"x" * 60, "cut off"),
        (whole[:8] + b"[" + whole[9:], "damaged"),
    ):
        file.write_bytes(broken)
        with pytest.raises(BadArtifact, match=said):
            plan(place, config("subject.run=saves/tuned"), "out")
    file.unlink()
    with pytest.raises(BadArtifact, match="no weights"):
        plan(place, config("subject.run=saves/tuned"), "out")
    (place.models / "base/model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    with pytest.raises(BadArtifact, match=r"model-1\.safetensors is missing"):
        model_tensors(place.models / "base")


def test_headers_tell_names_shapes_and_places(place: Workspace) -> None:
    tensors, _ = read_header(place.models / "base/model.safetensors")
    assert {name: tensor.shape for name, tensor in tensors.items()} == SHAPES
    assert sum(tensor.nbytes for tensor in tensors.values()) == WEIGHTS


@pytest.mark.parametrize(
    ("words", "size", "scratch"),
    [
        ([], WEIGHTS, 0),
        (["format.dtype=float32"], 2 * WEIGHTS, 0),
        (["format.type=gguf", "format.quantization=f16"], 2 * 928 + 4 * 8, 0),
        (["format.type=gguf", "format.quantization=q8_0"], 928 * 34 // 32 + 4 * 8, 0),
        (["format.type=bitsandbytes"], None, WEIGHTS),
        (["format.type=gptq", "format.bits=2"], None, WEIGHTS),
    ],
)
def test_size_is_known_before(place: Workspace, words: list[str], size: int | None, scratch: int) -> None:
    todo = plan(place, config("subject.run=saves/tuned", *words), "out")
    assert todo.scratch == scratch and todo.destination == place.exports / "out"
    assert size is None or todo.size == size
    assert todo.memory is not None and todo.memory > export_plan.PROCESS_BYTES


def test_groups_that_no_layer_can_be_cut_into_are_refused_before_the_work(place: Workspace) -> None:
    def refused(*words: str) -> str:
        found = look_ahead(place, config("subject.base=models/base", "format.type=gptq", *words), "out").findings
        return "".join(one.said for one in found if (one.part, one.severity) == ("format", "fault"))

    assert "rows of 8. Set format.group_size=-1." in refused("format.group_size=64")
    assert refused("format.group_size=-1") == ""
    write_weights(place.models / "base" / "model.safetensors", {"model.layers.0.mlp.up_proj.weight": (16, 192)})
    assert "Groups of 128 weights do not fit this model: it has layers with rows of 192." in refused()
    assert refused("format.group_size=64") == ""
    with pytest.raises(GroupsDoNotFit, match=r"Set format\.group_size=64"):
        check_groups(config("format.type=gptq", "subject.run=x").format, model_tensors(place.models / "base").values())


def test_a_model_on_a_hub_has_no_size_yet(place: Workspace) -> None:
    todo = plan(place, config("subject.base=owner/name"), "out")
    assert (todo.size, todo.needed) == (None, None)
    check_room(todo)


def test_no_room_is_refused_with_the_numbers(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(export_plan.shutil, "disk_usage", lambda path: usage(10**9, 0, 30 * 2**20))
    with pytest.raises(DiskFull, match=r"needs 32 MiB .* 30 MiB are free"):
        check_room(plan(place, config("subject.run=saves/tuned"), "out"))


def test_nothing_is_overwritten_unasked(place: Workspace) -> None:
    (place.exports / "out").mkdir(parents=True)
    with pytest.raises(DestinationTaken, match="exists already"):
        plan(place, config("subject.run=saves/tuned"), "out")
    assert plan(place, config("subject.run=saves/tuned", "destination.overwrite=true"), "out").size == WEIGHTS


@pytest.mark.parametrize("folder", ["saves", "exports", ".", "..", "/"])
def test_the_workspace_itself_is_no_destination(place: Workspace, folder: str) -> None:
    place.exports.mkdir()
    with pytest.raises(OutsideWorkspace):
        words = ("subject.run=saves/tuned", f"destination.folder={folder}", "destination.overwrite=true")
        plan(place, config(*words), "out")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Choose what to export"),
        (["subject.run=saves/a", "subject.base=models/b"], "The run brings its own model"),
        (["subject.base=models/b", "format.type=adapter"], "there are 0"),
        (["subject.run=saves/a", "format.type=gptq", "format.bits=5"], "'5' is not one of: 8, 4, 3, 2"),
        (["subject.run=saves/a", "format.type=gguf", "format.quantization=q9"], "not one of: f32, f16"),
        (["subject.run=saves/a", "destination.hub_id=nameless"], "Write owner/name"),
    ],
)
def test_settings_that_cannot_work_are_faults(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(*words)


def test_few_bits_are_advised_against_and_bits_may_be_numbers() -> None:
    found, faults = check(override({}, ["subject.run=saves/a", "format.type=gptq", "format.bits=2"]), ExportConfig)
    assert found is not None and [fault.severity for fault in faults] == ["hint"]
    assert command_of(found)[:2] == ["studio", "export"] and "format.bits='2'" in command_of(found)
