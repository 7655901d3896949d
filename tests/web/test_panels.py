"""Views of a run beside its head: what they say without a browser."""

from __future__ import annotations

from pathlib import Path

from studio.config.io import parse
from studio.config.workspace import Workspace
from studio.runs.submission import submit_config
from studio.runs.supervisor import Supervisor
from studio.web.curve_cache import CurveCache
from studio.web.panels import PANELS


def test_the_config_view_shows_the_file_and_the_command_that_starts_such_a_run(tmp_path: Path) -> None:
    supervisor = Supervisor(Workspace(tmp_path))
    config = parse({"name": "one", "model": {"path": "models/x"}, "data": {"datasets": ["a"]}, "method": {"rank": 3}})
    submit_config(supervisor, config, hold=True)
    folder = supervisor.folder("one")
    shown = PANELS["config"]("en", folder, CurveCache(), {})
    assert shown is not None
    assert shown["yaml"] == folder.config_text() and "studio train" in shown["command"]
    assert "method.rank=3" in shown["command"]
    assert PANELS["config"]("en", folder, CurveCache(), {"panel_version": shown["version"]}) is None
