"""What serves something that was trained or exported here: runs, adapters on adapters, merged models, GGUF files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.config.io import overrides_of, parse
from studio.config.workspace import OutsideWorkspace, Workspace
from studio.runs.serving_subject import serving_of


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def add(workspace: Workspace, place: str, *files: str, run: dict[str, Any] | None = None) -> None:
    """A folder with files, and with the config of a training run."""
    folder = workspace.root / place
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "models/named"}))
    if run is not None:
        tree = parse({"data": {"datasets": ["chat"]}, **run}).model_dump(mode="json")
        (folder / "config.yaml").write_text(yaml.safe_dump(tree))


def words(workspace: Workspace, path: str) -> list[str]:
    found = serving_of(workspace, path)
    assert found is not None
    return overrides_of(found)


def test_an_adapter_is_served_beside_the_base_that_its_run_names(workspace: Workspace) -> None:
    add(workspace, "saves/one", "adapter_config.json", run={"model": {"path": "models/x", "chat_template": "chatml"}})
    add(workspace, "saves/one/checkpoint-5", "adapter_config.json")
    assert words(workspace, "saves/one") == [
        "model.path=models/x", "model.chat_template=chatml", "serving.adapters=[saves/one]",
    ]  # fmt: skip
    assert words(workspace, "saves/one/checkpoint-5")[-1] == "serving.adapters=[saves/one/checkpoint-5]"


def test_adapters_on_which_another_stands_are_merged_first(workspace: Workspace) -> None:
    model = {"path": "models/x", "adapters": ["saves/first", "saves/second"]}
    add(workspace, "saves/third", "adapter_config.json", run={"model": model})
    assert words(workspace, "saves/third")[1:] == ["serving.adapters=[saves/third]", "serving.merged=[saves/first]"]
    on_top = {"model": model, "method": {"create_new_adapter": True}}
    add(workspace, "saves/fourth", "adapter_config.json", run=on_top)
    assert words(workspace, "saves/fourth")[-1] == "serving.merged=[saves/first, saves/second]"


def test_an_exported_adapter_names_its_base_itself(workspace: Workspace) -> None:
    add(workspace, "exports/a", "adapter_config.json")
    assert words(workspace, "exports/a") == ["model.path=models/named", "serving.adapters=[exports/a]"]


def test_a_whole_model_is_served_as_it_lies(workspace: Workspace) -> None:
    add(workspace, "exports/m", "config.json")
    add(workspace, "saves/full", "config.json", run={"model": {"path": "models/x"}, "method": {"type": "full"}})
    assert words(workspace, "exports/m") == ["model.path=exports/m"]
    assert words(workspace, "saves/full") == ["model.path=saves/full"]


def test_a_gguf_file_is_served_by_llama_cpp(workspace: Workspace) -> None:
    add(workspace, "exports/g", "g-q8_0.gguf")
    assert words(workspace, "exports/g") == ["model.path=exports/g/g-q8_0.gguf", "engine.type=llama-cpp"]


def test_a_reward_model_writes_no_words_and_is_not_served(workspace: Workspace) -> None:
    add(workspace, "saves/judge", "adapter_config.json", run={"model": {"path": "models/x"}})
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "models/x", "task_type": "SEQ_CLS"}
    (workspace.root / "saves/judge/adapter_config.json").write_text(json.dumps(adapter))
    add(workspace, "models/judge", "config.json")
    whole = {"architectures": ["LlamaForSequenceClassification"]}
    (workspace.root / "models/judge/config.json").write_text(json.dumps(whole))
    assert serving_of(workspace, "saves/judge") is None
    assert serving_of(workspace, "models/judge") is None


def test_an_empty_folder_gives_nothing_and_a_foreign_one_is_refused(workspace: Workspace) -> None:
    assert serving_of(workspace, "exports/none") is None
    with pytest.raises(OutsideWorkspace):
        serving_of(workspace, "/etc")
