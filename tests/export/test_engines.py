"""Environments of their own: installed from a pinned list, known when incomplete or outdated. No torch."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from studio.cli.main import main
from studio.config.workspace import Workspace
from studio.runs import engines
from studio.runs.atomic import write_json
from studio.runs.engines import ENGINES, MARK, Engine, EngineError, install, interpreter, look, remove, size


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index with one small package, and the engine `small` that needs it."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "small_engine-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("small_engine.py", "ANSWER = 42\n")
        info = "small_engine-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: small-engine\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    known = {"small": Engine("small", "a small one", ("small-engine==1.0",)), "bad": Engine("bad", "", ("none==9",))}
    monkeypatch.setattr(engines, "ENGINES", known)
    return folder


def test_an_engine_is_installed_used_and_removed(tmp_path: Path, index: Path) -> None:
    place, said = Workspace(tmp_path), list[str]()
    with pytest.raises(EngineError, match="studio engines install small"):
        interpreter(place, "small")
    install(place, "small", said.append)
    assert look(place, "small").state == "installed" and size(place, "small") > 1000
    code = "import small_engine; print(small_engine.ANSWER)"
    found = subprocess.run([interpreter(place, "small"), "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "42"
    install(place, "small", said.append)
    assert "installed already" in said[-1]
    write_json(place.engines / "small" / MARK, {"pins": ["small-engine==0.9"]})
    assert look(place, "small").state == "outdated" and look(place, "small").ready
    (place.engines / "small" / MARK).unlink()
    assert look(place, "small").state == "incomplete" and not look(place, "small").ready
    assert remove(place, "small") and not remove(place, "small")
    assert look(place, "small").state == "missing"


def test_an_installation_that_fails_is_not_taken_for_one(tmp_path: Path, index: Path) -> None:
    place = Workspace(tmp_path)
    with pytest.raises(EngineError, match=r"bad could not be installed: .*none==9"):
        install(place, "bad", lambda line: None)
    assert look(place, "bad").state == "incomplete"


def test_the_real_engines_are_pinned_exactly() -> None:
    for engine in ENGINES.values():
        assert all("==" in pin for pin in engine.pins) and len(set(engine.pins)) == len(engine.pins)


def test_the_terminal_lists_them_and_names_unknown_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", "list", "--workspace", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name:<10}  missing" in shown for name in ENGINES)
    assert main(["engines", "install", "nonesuch", "--workspace", str(tmp_path)]) == 2
    assert "There is no engine 'nonesuch'" in capsys.readouterr().err
    assert main(["engines", "remove", "gptq", "--workspace", str(tmp_path)]) == 0
