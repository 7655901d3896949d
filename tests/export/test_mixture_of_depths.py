"""What routed layers do is in no format: a Mixture-of-Depths model is neither exported nor given to other engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.config.export import ExportConfig
from studio.config.io import parse
from studio.config.serve import ServeConfig
from studio.config.workspace import Workspace
from studio.runs.export_prospect import look_ahead
from studio.tasks.failures import TaskError
from tests.export.conftest import RUN, Export, add_config

pytestmark = pytest.mark.slow


@pytest.fixture
def routed(workspace: Path) -> Path:
    """The workspace with a finished run whose second layer is routed."""
    from transformers import AutoModelForCausalLM

    from studio.tasks.routed_model import make_routed

    model = AutoModelForCausalLM.from_pretrained(workspace / "models/tiny")
    make_routed(model, 0.5, 2)
    model.save_pretrained(workspace / "saves/run")
    add_config(workspace / "saves/run", RUN, workspace / "models/tiny")
    return workspace


@pytest.mark.parametrize(
    ("subject", "format"),
    [
        ({"run": "saves/run"}, {"type": "merged"}),
        ({"base": "saves/run"}, {"type": "merged"}),
        ({"run": "saves/run"}, {"type": "gguf"}),
        ({"run": "saves/run"}, {"type": "gptq", "calibration": ["chat"]}),
        ({"run": "saves/run"}, {"type": "bitsandbytes"}),
        ({"run": "saves/run"}, {"type": "adapter"}),
    ],
)
def test_the_wizard_and_the_job_say_why_not(
    routed: Path, export: Export, subject: dict[str, str], format: dict[str, object]
) -> None:
    tree = {"subject": subject, "format": format}
    found = look_ahead(Workspace(routed), parse({"name": "out", **tree}, ExportConfig), "out").findings
    said = [finding.said for finding in found if finding.severity == "fault"]
    assert len(said) == 1 and "is a Mixture-of-Depths model, which no export can hold" in said[0]
    with pytest.raises(TaskError, match="is a Mixture-of-Depths model, which no export can hold"):
        export("out", tree)
    assert not (routed / "exports/out").exists()


def test_other_engines_do_not_get_it(routed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.tasks.serving import outside

    monkeypatch.setattr(outside, "interpreter", lambda workspace, engine: Path("python"))
    config = parse({"model": {"path": "saves/run"}, "engine": {"type": "vllm"}}, ServeConfig)
    with pytest.raises(TaskError, match="which vllm does not know"):
        outside.command(config, Workspace(routed), 1)
