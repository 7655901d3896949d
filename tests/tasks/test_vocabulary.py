"""New tokens and stretched positions: trained, saved, resumed, and there again wherever the result is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.tasks.failures import TaskError

pytestmark = pytest.mark.slow

WORDS = ["<tool>", "Lumen"]
NEW = {"model": {"path": "models/tiny", "new_tokens": WORDS, "rope_scaling": "linear", "rope_factor": 2}}
KNOWN = 401  # tokens of the tiny tokenizer
SHORT = {"optimisation": {"max_steps": 6}, "cadence": {"save_steps": 3}}


def weights(folder: Path, name: str = "adapter_model.safetensors") -> dict[str, Any]:
    """The tensors of a saved model or adapter."""
    from safetensors.torch import load_file

    return load_file(folder / name)


@pytest.fixture(params=[False, True], ids=["apart", "tied"])
def tied(request: pytest.FixtureRequest, workspace: Path) -> bool:
    """Whether input and output embedding of models/tiny are one matrix. It is made anew, without spare rows."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    folder = workspace / "models" / "tiny"
    config = LlamaConfig.from_pretrained(folder)
    config.tie_word_embeddings, config.vocab_size = request.param, KNOWN
    LlamaForCausalLM(config).save_pretrained(folder)
    return request.param


def test_rows_of_new_tokens_are_trained_and_found_again(train: Callable[..., Any], workspace: Path, tied: bool) -> None:
    import torch

    from studio.config.io import check
    from studio.config.serve import ServeConfig
    from studio.config.workspace import Workspace
    from studio.tasks.machine import Machine
    from studio.tasks.serving.loading import load

    run = train("run", NEW, SHORT)
    assert run.losses[-1] < run.losses[0]
    train("stopped", NEW, SHORT, stop_at=3)
    assert train("stopped", NEW, SHORT, resume_from="checkpoint-3").losses == run.losses

    saved = weights(run.folder.path)
    rows = {name: value for name, value in saved.items() if "trainable_tokens_delta" in name}
    assert len(rows) == (1 if tied else 2) and all(value.shape == (2, 64) for value in rows.values())
    assert not any("embed_tokens" in name or "lm_head" in name for name in saved if name not in rows)
    mean = weights(workspace / "models" / "tiny", "model.safetensors")["model.embed_tokens.weight"].mean(dim=0)
    embedding = next(value for name, value in rows.items() if "embed_tokens" in name)
    assert not torch.allclose(embedding[1], mean, atol=1e-4), "Lumen is in the answers, so its row has moved"

    tree = {"model": {"path": "models/tiny"}, "serving": {"adapters": ["saves/run"]}}
    config, _ = check(tree, ServeConfig)
    assert config is not None
    loaded = load(config, Workspace(workspace), Machine("cpu", bf16=False))
    model, tokenizer = loaded.model, loaded.tokenizer
    assert tokenizer.convert_tokens_to_ids(WORDS) == [KNOWN, KNOWN + 1]
    assert model.config.rope_parameters["rope_type"] == "linear"
    ids = torch.tensor([[KNOWN, KNOWN + 1, 5, 7]])
    with torch.no_grad():
        answer = model(ids).logits
    assert answer.shape[-1] == KNOWN + 2
    exported = _exported(workspace, compare=tied)
    with torch.no_grad():
        merged = exported(ids).logits
    assert torch.allclose(answer, merged, atol=1e-4)
    assert exported.config.rope_parameters["rope_type"] == "linear"


def test_adapters_are_not_used_with_other_positions_or_tokens(train: Callable[..., Any], tmp_path: Path) -> None:
    from studio.tasks.trained_on import with_positions

    def run(name: str, model: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text(f"model: {model}\n", encoding="utf-8")
        return folder

    yarn, plain = run("yarn", "{rope_scaling: yarn, rope_factor: 4}"), run("plain", "{path: models/tiny}")
    assert with_positions({"rope": None}, [yarn / "checkpoint-3"])["rope"] == {"type": "yarn", "factor": 4.0}
    assert with_positions({"rope": None}, [plain, tmp_path / "elsewhere"])["rope"] is None
    with pytest.raises(TaskError, match="rope_scaling"):
        with_positions({"rope": None}, [yarn, plain])
    train("first", NEW, {"optimisation": {"max_steps": 1}})
    with pytest.raises(TaskError, match="rope_scaling=linear by 2"):
        train("second", {"model": {"path": "models/tiny", "adapters": ["saves/first"]}})
    again = {**NEW["model"], "adapters": ["saves/first"]}
    assert train("third", {"model": again, "optimisation": {"max_steps": 1}}).code == 0


def _exported(workspace: Path, compare: bool) -> Any:
    """The run, merged by an export job and loaded again as a plain model. `compare`: the job loads both itself, too."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from studio.config.export import ExportConfig
    from studio.config.io import check
    from studio.runs.folder import RunFolder
    from studio.runs.records import JobSpec
    from studio.tasks.export import run
    from studio.tasks.status import Reporter
    from studio.tasks.stopping import StopFlag

    tree = {"subject": {"run": "saves/run"}, "name": "out", "verification": {"compare": compare}}
    config, faults = check(tree, ExportConfig)
    assert config is not None, faults
    folder = RunFolder(workspace / "saves" / "out")
    folder.path.mkdir()
    job = JobSpec(name="out", kind="export")
    folder.write_job(job)
    assert run(folder, job, config, Reporter(folder), StopFlag()) == 0
    place = next(file.parent for file in (workspace / "exports").rglob("config.json"))
    assert len(AutoTokenizer.from_pretrained(place)) == KNOWN + 2
    return AutoModelForCausalLM.from_pretrained(place)
