"""What cannot be served is said in plain words: foreign adapters, missing files, ports in use, open addresses."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def loaded(workspace: Path, **serving: Any) -> None:
    from studio.config.io import parse
    from studio.config.serve import ServeConfig
    from studio.config.workspace import Workspace
    from studio.tasks.machine import detect
    from studio.tasks.serving.loading import load

    config = parse({"model": {"path": "models/tiny"}, "serving": serving}, ServeConfig)
    load(config, Workspace(workspace), detect("cpu"))


@pytest.fixture
def own(serving_workspace: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(serving_workspace, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_an_adapter_of_another_model_is_refused_by_name(own: Path) -> None:
    from safetensors.torch import load_file, save_file

    from studio.tasks.failures import TaskError

    file = own / "saves" / "one" / "adapter_model.safetensors"
    wider = {name: tensor.repeat(1, 2) for name, tensor in load_file(file).items()}
    save_file(wider, file)
    with pytest.raises(TaskError, match=r"saves/one does not fit this base model"):
        loaded(own, adapters=["saves/two", "saves/one"])


@pytest.mark.parametrize(("file", "said"), [("adapter_config.json", "no adapter in"), ("", "no adapter in")])
def test_a_folder_without_an_adapter_is_named(own: Path, file: str, said: str) -> None:
    from studio.tasks.failures import TaskError

    if file:
        (own / "saves" / "one" / file).unlink()
    with pytest.raises(TaskError, match=said):
        loaded(own, adapters=["saves/one" if file else "saves/nothing"])


def test_two_adapters_of_one_name_are_refused(own: Path) -> None:
    from studio.tasks.failures import TaskError

    shutil.copytree(own / "saves" / "one", own / "other" / "one")
    with pytest.raises(TaskError, match="under the name 'one'"):
        loaded(own, adapters=["saves/one", "other/one"])


def test_a_port_in_use_and_an_open_address_without_a_key_are_refused(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.config.io import parse
    from studio.config.serve import ServeConfig
    from studio.tasks.failures import TaskError
    from studio.tasks.serve import _listen  # pyright: ignore[reportPrivateUsage]

    monkeypatch.delenv("STUDIO_API_KEY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = parse({"model": {"path": "models/tiny"}, "serving": {"port": port}}, ServeConfig)
        with pytest.raises(TaskError, match=rf"127.0.0.1:{port} cannot be listened on"):
            _listen(config)
    config = parse({"model": {"path": "models/tiny"}, "serving": {"host": "0.0.0.0"}}, ServeConfig)
    with pytest.raises(TaskError, match="everyone on the network"):
        _listen(config)
    monkeypatch.setenv("STUDIO_API_KEY", "given")
    _listen(config).close()


def test_the_key_lies_in_a_file_of_its_owner_alone(tmp_path: Path) -> None:
    from studio.runs.folder import RunFolder
    from studio.runs.serving import Serving, forget_serving, read_serving, write_serving

    folder = RunFolder(tmp_path)
    assert read_serving(folder) is None
    write_serving(folder, Serving("http://127.0.0.1:9", "secret", ("base", "one")))
    assert (tmp_path / "serving.json").stat().st_mode & 0o077 == 0
    assert read_serving(folder) == Serving("http://127.0.0.1:9", "secret", ("base", "one"))
    (tmp_path / "serving.json").write_text(json.dumps({"address": 3})[:-2], encoding="utf-8")
    assert read_serving(folder) is None
    forget_serving(folder)
    assert read_serving(folder) is None
