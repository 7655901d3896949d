"""An export from its settings to a verified folder: every format, what is refused, and what a kill leaves."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from studio.runs.artifacts import model_tensors
from studio.runs.folder import RunFolder
from studio.tasks.failures import TaskError
from tests.export.conftest import AddRun, Export, make_job, results, use_engine

pytestmark = pytest.mark.slow

MERGED = {"subject": {"run": "saves/run"}}


def names(folder: Path) -> set[str]:
    """What lies in a folder."""
    return {entry.name for entry in folder.iterdir()}


def test_a_merged_run_is_verified_and_complete(workspace: Path, add_run: AddRun, export: Export) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    add_run("run")
    found = results(export("out", {**MERGED, "format": {"shard_size": 0.0003}}))
    place = workspace / "exports/out"
    assert found["verdict"] == "good" and found["comparison"]["difference"] < 1e-4
    assert found["comparison"]["same_answers"] == found["comparison"]["answers"] == 1
    assert found["comparison"]["perplexity_after"] == pytest.approx(found["comparison"]["perplexity_before"], rel=1e-3)
    assert found == json.loads((place / "export.json").read_text())
    assert names(workspace / "exports") == {"out"}, "neither draft nor scratch is left"
    assert {"model.safetensors.index.json", "config.json", "tokenizer.json", "chat_template.jinja"} <= names(place)
    assert len(list(place.glob("model-*"))) == found["files"] > 1
    assert "models/tiny" not in (place / "config.json").read_text()
    card = (place / "README.md").read_text()
    assert "tiny with 1 adapter merged in." in card and "| perplexity |" in card
    AutoTokenizer.from_pretrained(place)
    assert AutoModelForCausalLM.from_pretrained(place).config.vocab_size == 512


def test_the_template_that_was_trained_is_exported(workspace: Path, add_run: AddRun, export: Export) -> None:
    folder = add_run("run")
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }} trained", encoding="utf-8")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": "another"}))
    export("out", {**MERGED, "verification": {"compare": False}})
    assert (workspace / "exports/out/chat_template.jinja").read_text() == "{{ messages[0]['content'] }} trained"
    assert "another" not in (workspace / "exports/out/tokenizer_config.json").read_text()
    export("named", {"subject": {"run": "saves/run", "chat_template": "llama3"}, "verification": {"compare": False}})
    assert "<|start_header_id|>" in (workspace / "exports/named/chat_template.jinja").read_text()


def test_positions_that_a_run_has_stretched_are_in_its_export(workspace: Path, add_run: AddRun, export: Export) -> None:
    from transformers import AutoConfig

    file = add_run("run") / "config.yaml"
    tree = yaml.safe_load(file.read_text())
    tree["model"] |= {"rope_scaling": "linear", "rope_factor": 4.0}
    file.write_text(yaml.safe_dump(tree))
    assert results(export("out", MERGED))["verdict"] == "good"
    config = AutoConfig.from_pretrained(workspace / "exports/out")
    assert (config.rope_parameters["rope_type"], config.max_position_embeddings) == ("linear", 1024)
    found = results(export("file", {**MERGED, "format": {"type": "gguf", "quantization": "f32"}}))
    assert found["verdict"] == "good"
    assert results(export("alone", {**MERGED, "format": {"type": "adapter"}}))["comparison"]["difference"] == 0


def test_an_adapter_is_exported_alone(workspace: Path, add_run: AddRun, export: Export) -> None:
    add_run("run")
    found = results(export("out", {**MERGED, "format": {"type": "adapter"}}))
    place = workspace / "exports/out"
    assert found["comparison"]["difference"] == 0 and found["comparison"]["same_answers"] == 1
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "README.md"} <= names(place)
    assert json.loads((place / "adapter_config.json").read_text())["base_model_name_or_path"] == "models/tiny"
    assert "library_name: peft" in (place / "README.md").read_text()


@pytest.mark.parametrize("bits", ["4", "8"])
def test_bitsandbytes_weights_are_saved(workspace: Path, add_run: AddRun, export: Export, bits: str) -> None:
    add_run("run")
    found = results(export("out", {**MERGED, "format": {"type": "bitsandbytes", "bits": bits}}))
    assert 0 < found["comparison"]["difference"] < 1 and found["verdict"] in ("good", "lossy")
    settings = json.loads((workspace / "exports/out/config.json").read_text())["quantization_config"]
    assert settings[f"load_in_{bits}bit"] is True
    assert any("absmax" in name or "SCB" in name for name in model_tensors(workspace / "exports/out"))


def test_adapters_that_only_peft_knows_are_merged_by_peft(workspace: Path, export: Export) -> None:
    import torch
    from peft import LoHaConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(workspace / "models/tiny"),
        LoHaConfig(r=2, target_modules=["q_proj"], init_weights=False),
    )
    tuned.save_pretrained(workspace / "models/loha")
    settings = json.loads((workspace / "models/loha/adapter_config.json").read_text())
    folder = export("out", {"subject": {"base": "models/tiny", "adapters": ["models/loha"]}})
    assert settings["peft_type"] == "LOHA" and results(folder)["verdict"] == "good"
    assert "merged by peft with the whole model in memory" in " ".join(folder.status().notices)


def test_an_export_that_is_not_the_tuned_model_is_not_put_in_place(
    workspace: Path, add_run: AddRun, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.tasks.exporting.lora import Adapter

    add_run("run")
    monkeypatch.setattr(Adapter, "scaling", lambda self, module, rank: 0.0)
    with pytest.raises(TaskError, match="is not the tuned model"):
        export("out", MERGED)
    assert names(workspace / "exports") == set()
    assert results(RunFolder(workspace / "saves/out"))["verdict"] == "bad"


def test_overwriting_is_asked_for_and_keeps_the_old_one_until_the_end(
    workspace: Path, add_run: AddRun, export: Export
) -> None:
    add_run("run")
    old = workspace / "exports/out"
    old.mkdir(parents=True)
    (old / "precious").touch()
    quiet: dict[str, Any] = {**MERGED, "verification": {"compare": False}}
    with pytest.raises(TaskError, match="exists already"):
        export("out", quiet)
    broken = workspace / "models/tiny/tokenizer.json"
    tokenizer = broken.read_text()
    (workspace / "saves/run/tokenizer.json").unlink()
    broken.unlink()
    with pytest.raises(TaskError, match="no tokenizer"):
        export("out", {**quiet, "destination": {"overwrite": True}})
    assert names(old) == {"precious"}
    broken.write_text(tokenizer)
    export("out", {**quiet, "destination": {"overwrite": True}})
    assert "model.safetensors" in names(old) and "precious" not in names(old)
    assert names(workspace / "exports") == {"out"}


def test_a_job_that_has_ended_well_does_nothing_again(workspace: Path, add_run: AddRun, export: Export) -> None:
    add_run("run")
    export("out", {**MERGED, "verification": {"compare": False}})
    before = (workspace / "exports/out/model.safetensors").stat().st_mtime_ns
    folder = export("out", {**MERGED, "verification": {"compare": False}})
    assert folder.status().message == "the export stands already"
    assert (workspace / "exports/out/model.safetensors").stat().st_mtime_ns == before


def test_a_tokenizer_of_another_model_is_refused(workspace: Path, add_run: AddRun, export: Export) -> None:
    file = add_run("run") / "tokenizer.json"
    tree = json.loads(file.read_text())
    tree["added_tokens"].append({**tree["added_tokens"][0], "id": 512, "content": "<new>"})
    file.write_text(json.dumps(tree))
    with pytest.raises(TaskError, match="513 tokens, but the model only has 512 embeddings"):
        export("out", MERGED)


def test_gptq_needs_its_engine_and_says_how_to_get_it(workspace: Path, add_run: AddRun, export: Export) -> None:
    add_run("run")
    with pytest.raises(TaskError, match="studio engines install gptq"):
        export("out", {**MERGED, "format": {"type": "gptq"}})


def test_calibration_rows_are_spread_and_some_are_held_back(workspace: Path, add_run: AddRun) -> None:
    from studio.config.workspace import Workspace
    from studio.runs.export_subject import resolve
    from studio.tasks.exporting.gptq import calibration
    from studio.tasks.exporting.work import Work
    from studio.tasks.machine import Machine
    from studio.tasks.status import Reporter

    add_run("run")
    folder, config = make_job(workspace, "out", {**MERGED, "format": {"type": "gptq", "rows": 5}})
    place = Workspace(workspace)
    subject = resolve(place, config.subject)
    work = Work(place, config, subject, folder.path, folder.path, Machine("cpu", True), Reporter(folder))
    learnt, held = calibration(work, config.format)  # type: ignore[arg-type]
    assert (len(learnt), len(held)) == (5, 1)
    assert not any(row == other for row in learnt for other in held)


def test_gptq_quantizes_in_its_own_environment(workspace: Path, add_run: AddRun, export: Export) -> None:
    use_engine(workspace, "gptq")
    add_run("run")
    target = {"type": "gptq", "bits": 4, "group_size": 32, "rows": 4, "length": 32}
    found = results(export("out", {**MERGED, "format": target}))
    assert found["verdict"] in ("good", "lossy") and found["held_back_rows"] == 1
    place = workspace / "exports/out"
    assert any(name.endswith("qweight") for name in model_tensors(place))
    assert not any(str(workspace) in file.read_text() for file in place.glob("*config.json"))
    assert "quant_log.csv" not in names(place)


def test_a_full_disk_leaves_nothing_and_is_named(
    workspace: Path, add_run: AddRun, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.tasks.exporting import shards
    from studio.tasks.failures import explain

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    add_run("run")
    monkeypatch.setattr(shards, "os", SimpleNamespace(fsync=full))
    with pytest.raises(OSError) as caught:
        export("out", MERGED)
    assert explain(caught.value).kind == "disk_full"
    assert names(workspace / "exports") == set()


def start(folder: RunFolder, workspace: Path) -> subprocess.Popen[bytes]:
    """The job as the shim starts it."""
    words = [sys.executable, "-m", "studio.tasks.entry", str(folder.path)]
    root = Path(__file__).parents[2]
    with folder.log_file.open("ab") as log:
        return subprocess.Popen(
            words, cwd=workspace, stderr=log, stdout=log, env={**os.environ, "PYTHONPATH": str(root)}
        )


def wait_for(folder: RunFolder, phase: str, process: subprocess.Popen[bytes]) -> None:
    """Until the job says that it is in a phase."""
    deadline = time.monotonic() + 120
    while folder.status().phase != phase:
        assert process.poll() is None and time.monotonic() < deadline, folder.log_tail()
        time.sleep(0.02)


def test_a_kill_leaves_nothing_that_looks_whole_and_the_next_attempt_is(
    workspace: Path, add_run: AddRun, export: Export
) -> None:
    add_run("run")
    folder, _ = make_job(workspace, "out", MERGED)
    process = start(folder, workspace)
    wait_for(folder, "verifying", process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert names(workspace / "exports") == {".draft-out", ".scratch-out"}
    shutil.rmtree(folder.path / "results.json", ignore_errors=True)
    # The part that was measuring ends by itself; the next attempt, here in fresh processes, begins anew.
    process = start(folder, workspace)
    assert process.wait(timeout=300) == 0, folder.log_tail()
    assert names(workspace / "exports") == {"out"} and results(folder)["verdict"] == "good"
    assert results(folder)["peak_memory_bytes"] < results(folder)["planned"]["memory"]


def test_a_stop_ends_the_parts_and_leaves_nothing(workspace: Path, add_run: AddRun) -> None:
    add_run("run")
    folder, _ = make_job(workspace, "out", MERGED)
    process = start(folder, workspace)
    wait_for(folder, "verifying", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 10, folder.log_tail()
    assert names(workspace / "exports") == set()


def test_rows_that_the_template_refuses_are_left_out(workspace: Path) -> None:
    from transformers import AutoTokenizer

    from studio.tasks.exporting.rows import token_rows

    tokenizer = AutoTokenizer.from_pretrained(workspace / "models/tiny")
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ m.content }}{% endfor %}"
    )
    plain = {"messages": [{"role": "user", "content": "Name a colour."}]}
    refused = {"messages": [{"role": "system", "content": "Be kind."}, *plain["messages"]]}
    found = token_rows(tokenizer, template, [refused, plain, {"text": "Yes."}], 4)
    assert [tokenizer.decode(ids) for ids in found] == [
        tokenizer.decode(tokenizer("Name a colour.")["input_ids"][:4]),
        "Yes.",
    ]
    assert token_rows(tokenizer, "", [plain], 4) == []


def test_of_a_conversation_the_last_answer_is_measured(workspace: Path) -> None:
    from transformers import AutoTokenizer

    from studio.tasks.exporting.rows import measured_rows

    tokenizer = AutoTokenizer.from_pretrained(workspace / "models/tiny")
    turns = [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue is a colour."}]
    row, text = measured_rows(tokenizer, tokenizer.chat_template, [{"messages": turns}, {"text": "Yes, four."}], 128)
    assert tokenizer.decode(row["ids"][row["start"] :]) == "Blue is a colour.<|im_end|>"
    assert text["start"] == 1
    assert measured_rows(tokenizer, tokenizer.chat_template, [{"messages": turns}], 10) == []
