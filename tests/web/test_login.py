"""The real board behind a password: nothing without it, nothing of the disk with it, and guessing gets slow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from studio.config.workspace import Workspace
from studio.runs.supervisor import Supervisor
from studio.web.app import make_app

PASSWORD = "only for this test"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("nobody's business")
    return tmp_path


@pytest.fixture
def stranger(root: Path) -> Iterator[TestClient]:
    """Somebody who has not logged in."""
    app = make_app(Workspace(root), Supervisor(Workspace(root)), password=PASSWORD)
    with TestClient(app, base_url="http://127.0.0.1:7860", follow_redirects=False) as made:
        made.headers["origin"] = "http://127.0.0.1:7860"
        yield made


@pytest.fixture
def member(stranger: TestClient) -> TestClient:
    """Somebody who has."""
    assert login(stranger, PASSWORD) == 200
    return stranger


def login(client: TestClient, password: str) -> int:
    return client.post("/login", data={"username": "studio", "password": password}).status_code


def test_without_the_password_there_is_nothing_to_see(stranger: TestClient) -> None:
    for path in ("/config", "/gradio_api/info"):
        assert stranger.get(path).status_code == 401
    call = {"data": {}, "fn_name": "tick", "component_id": 1, "session_hash": "x"}
    assert stranger.post("/gradio_api/component_server", json=call).status_code == 401


def test_guessing_gets_slow(stranger: TestClient) -> None:
    found = [login(stranger, "wrong") for _ in range(7)]
    assert found[:5] == [400] * 5 and found[-1] == 429
    assert login(stranger, PASSWORD) == 429, "even the right one has to wait now"


def test_files_of_the_workspace_are_not_served(member: TestClient, root: Path) -> None:
    assert member.get("/config").status_code == 200
    for path in (root / "secret.txt", Path("/etc/passwd"), Path("../secret.txt")):
        assert member.get(f"/gradio_api/file={path}").status_code in (403, 404)


def test_no_function_of_the_page_can_be_called_by_name(member: TestClient) -> None:
    assert member.get("/gradio_api/info").json()["named_endpoints"] == {}
