"""Datasets of hubs and clouds are fetched once, whole or not at all, and where they cannot be had it says why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from studio.config.workspace import Workspace
from studio.data.editing import Draft
from studio.data.examples import DataError
from studio.data.fetched import NOTE, NotFetched, read_note
from studio.data.listing import list_datasets
from studio.data.reading import read_datasets
from studio.data.registry import copy_of, find_entry, load_registry, locate
from studio.data.versions import use_version, versions
from studio.runs.folder import RunFolder
from studio.tasks.cloud_files import fetch_from_cloud
from studio.tasks.downloads import download
from studio.tasks.fetching import fetch_dataset, fetch_missing
from studio.tasks.modelscope_files import fetch_from_modelscope
from studio.tasks.status import Reporter
from tests.tasks.fake_hub import SHA, Hub, serving

ROOT = Path(__file__).parents[2]
SPLITS = ("train", "test", "dev")


def lines(count: int, first: int = 0) -> bytes:
    """Rows as JSON lines."""
    rows = ({"instruction": f"q{n}", "output": "a" * 50} for n in range(first, first + count))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


CONFIGS = b"---\nconfigs:\n- config_name: en\n  data_files: en/*.csv\n- config_name: zh\n  data_files: zh/*.csv\n---\n"
DATASETS = {
    "owner/plain": {"train.jsonl": lines(5), "test.jsonl": lines(2, 100), "dev.jsonl": b"{ broken"},
    "owner/sets": {
        "README.md": CONFIGS,
        "en/a.csv": b"instruction,output\na,b\n",
        "zh/a.csv": "instruction,output\n一,b\n二,c\n".encode(),
    },
    "owner/script": {"script.py": b"raise SystemExit(3)"},
    "owner/evil": {"../../../evil.jsonl": lines(1)},
    "files": {"rows.jsonl": lines(2000), "note.docx": b"x"},
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub({name: dict(files) for name, files in DATASETS.items()})) as hub:
        yield hub


def room(root: Path, **entries: Any) -> Workspace:
    """A workspace with these entries."""
    (root / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    return Workspace(root)


CHILD = """
import json, sys
from pathlib import Path
from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.tasks.fetching import fetch_dataset
told = {}
for name in sys.argv[2:]:
    try:
        told[name] = str(fetch_dataset(Workspace(Path(sys.argv[1])), name))
    except DataError as error:
        told[name] = f"ERROR {error}"
print(json.dumps([told, "torch" in sys.modules]))
"""


def test_datasets_of_hugging_face(tmp_path: Path, hub: Hub) -> None:
    """In a process of its own, since its libraries read the hub's address when they are imported."""
    entries: dict[str, dict[str, str]] = {
        "plain": {"hf_hub_url": "owner/plain"},
        "test": {"hf_hub_url": "owner/plain", "split": "test"},
        "zh": {"hf_hub_url": "owner/sets", "subset": "zh"},
        "en": {"hf_hub_url": "owner/sets", "folder": "en"},
        "fr": {"hf_hub_url": "owner/sets", "subset": "fr"},
        "gone": {"hf_hub_url": "owner/gone"},
        "script": {"hf_hub_url": "owner/script"},
        "broken": {"hf_hub_url": "owner/plain", "split": "dev"},
        "second": {"hf_hub_url": "owner/gone", "ms_hub_url": "owner/sets", "subset": "zh"},
    }
    workspace = room(tmp_path, **entries)
    env = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
    env |= {"MODELSCOPE_DOMAIN": hub.address, "PYTHONPATH": str(ROOT), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    words = [sys.executable, "-c", CHILD, str(tmp_path), *entries]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told, torch = json.loads(done.stdout)
    assert not torch
    counts = {name: len(read_datasets(workspace, [name]).examples) for name in ("plain", "test", "zh", "en", "second")}
    assert counts == {"plain": 5, "test": 2, "zh": 2, "en": 1, "second": 2}, told
    entry = find_entry(load_registry(workspace), "plain")
    note = read_note(locate(workspace, entry))
    assert (note["source"], note["place"], note["revision"], note["rows"]) == ("hf_hub_url", "owner/plain", SHA, 5)
    # Only the split that was asked for comes; one that is broken spoils no other.
    assert [len([line for line in hub.asked if f"/{name}.jsonl" in line and "GET" in line]) for name in SPLITS] == [
        1,
        1,
        1,
    ]
    assert "'fr' not found. Available: ['en', 'zh']" in told["fr"]
    assert "Repository Not Found" in told["gone"]
    assert "scripts are no longer supported" in told["script"]
    assert "JSON parse error" in told["broken"]
    assert "HF_ENDPOINT" in told["gone"] and "Traceback" not in str(told)
    assert {
        folder.name for folder in (tmp_path / ".cache" / "fetched").iterdir() if not folder.name.startswith(".")
    } == {Path(told[name]).name for name in counts}


def test_a_dataset_of_modelscope(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_DOMAIN", hub.address)
    sets = {"ms_hub_url": "owner/sets", "hf_hub_url": "owner/other"}
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    workspace = room(tmp_path, zh={**sets, "subset": "zh"}, en={**sets, "folder": "en"}, gone={"ms_hub_url": "a/b"})
    assert [row.to_fetch for row in list_datasets(workspace)] == [True, True, True]
    reporter = Reporter(RunFolder(tmp_path))
    fetch_missing(workspace, ["zh", "en"], reporter)
    assert len(read_datasets(workspace, ["zh", "en"]).examples) == 3
    assert [row.to_fetch for row in list_datasets(workspace)] == [False, False, True]
    assert list_datasets(workspace)[0].rows == 2
    assert reporter.status.phase == "fetching data"
    assert "The dataset zh was fetched from owner/sets, revision 17." in reporter.status.notices
    asked = len(hub.asked)
    fetch_missing(workspace, ["zh", "en"], reporter)
    assert len(hub.asked) == asked
    files = [line.rpartition("FilePath=")[2] for line in hub.asked if "FilePath=" in line]
    assert files == ["README.md", "en%2Fa.csv", "zh%2Fa.csv", "README.md", "en%2Fa.csv"]
    with pytest.raises(DataError, match=r"ms_hub_url a/b: ModelScope has no such dataset"):
        fetch_dataset(workspace, "gone")


def test_files_of_modelscope_lie_inside_their_folder_and_come_once(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSCOPE_DOMAIN", hub.address)
    monkeypatch.setattr("studio.tasks.modelscope_files.FILES_A_PAGE", 2)
    with pytest.raises(DataError, match="lies outside of it"):
        fetch_from_modelscope("owner/evil", tmp_path / "evil", None, lambda done, total: None)
    with pytest.raises(DataError, match="no data files"):
        fetch_from_modelscope("owner/script", tmp_path / "script", None, lambda done, total: None)
    with pytest.raises(DataError, match="reads owner/name"):
        fetch_from_modelscope("plain", tmp_path / "x", None, lambda done, total: None)
    hub.break_off["train.jsonl"] = 100
    said: list[tuple[int, int]] = []
    with pytest.raises(httpx.HTTPError):
        fetch_from_modelscope("owner/plain", tmp_path / "plain", None, lambda *here: said.append(here))
    for _ in range(2):
        fetch_from_modelscope("owner/plain", tmp_path / "plain", None, lambda *here: said.append(here))
    files = {path.name: path.read_bytes() for path in (tmp_path / "plain").iterdir()}
    assert files == DATASETS["owner/plain"]
    assert said[-1] == (sum(map(len, files.values())),) * 2
    assert len([line for line in hub.asked if "FilePath=train.jsonl" in line]) == 2


def test_a_download_goes_on_where_it_was_cut_off(tmp_path: Path, hub: Hub) -> None:
    address, target, whole = f"{hub.address}/files/rows.jsonl", tmp_path / "rows.jsonl", DATASETS["files"]["rows.jsonl"]
    hub.break_off["rows.jsonl"] = 70_000
    seen: list[int] = []
    with pytest.raises(httpx.HTTPError):
        download(address, target, seen.append)
    assert not target.exists()
    left = (tmp_path / "rows.jsonl.part").stat().st_size
    assert 0 < left <= 70_000
    download(address, target, seen.append)
    assert target.read_bytes() == whole
    assert seen[-1] == len(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_download_of_a_file_that_changed_begins_anew(tmp_path: Path, hub: Hub) -> None:
    address, target = f"{hub.address}/files/rows.jsonl", tmp_path / "rows.jsonl"
    hub.break_off["rows.jsonl"] = 70_000
    with pytest.raises(httpx.HTTPError):
        download(address, target, lambda done: None)
    hub.datasets["files"]["rows.jsonl"] = lines(1500, 7)
    download(address, target, lambda done: None)
    assert target.read_bytes() == lines(1500, 7)
    with pytest.raises(DataError, match="came damaged"):
        download(address, target, lambda done: None, sha256="0" * 64)
    with pytest.raises(DataError, match="cut short"):
        download(address, target, lambda done: None, size=10**9)


def test_a_file_of_the_web_or_a_bucket(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec
    from fsspec.implementations.dirfs import DirFileSystem

    bucket = tmp_path / "bucket"
    (bucket / "b" / "sub").mkdir(parents=True)
    for name in ("b/one.jsonl", "b/sub/two.jsonl"):
        (bucket / name).write_bytes(lines(3))
    (bucket / "b" / "readme.md").write_text("no data", encoding="utf-8")

    class Bucket(DirFileSystem):
        """What s3fs is to a real bucket, for a folder."""

        protocol = "s3"

        def __init__(self, **options: Any) -> None:
            super().__init__(path=str(bucket), fs=fsspec.filesystem("file"))

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return path.removeprefix("s3://").rstrip("/")

        def ukey(self, path: str) -> str:
            return str(self.info(path)["mtime"])

    monkeypatch.setitem(import_module("fsspec.registry")._registry, "s3", Bucket)
    root = tmp_path / "room"
    root.mkdir()
    workspace = room(
        root,
        web={"cloud_file_name": f"{hub.address}/files/rows.jsonl"},
        one={"cloud_file_name": "s3://b/one.jsonl"},
        all={"cloud_file_name": "s3://b/"},
    )
    for name in ("web", "one", "all"):
        with pytest.raises(NotFetched, match=f"studio data fetch {name}"):
            read_datasets(workspace, [name])
        fetch_dataset(workspace, name)
    assert [len(read_datasets(workspace, [name]).examples) for name in ("web", "one", "all")] == [2000, 3, 6]
    folder = copy_of(workspace, find_entry(load_registry(workspace), "all"))
    assert sorted(path.name for path in folder.iterdir()) == [NOTE, "one.jsonl", "sub-two.jsonl"]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("gs://bucket/x.jsonl", "needs the package gcsfs"),
        ("ssh://host/x.jsonl", "begins with none of http://, https://, file://, s3://"),
        ("simplecache::file:///etc/passwd", "begins with none of"),
        ("s3://bucket::file:///x.jsonl", "begins with none of"),
        ("file:///etc/passwd", "lies outside the workspace"),
        ("HUB/files/note.docx", "'note.docx' cannot be read: it must end in"),
        ("HUB/files/gone.jsonl", "404"),
        ("http://127.0.0.1:9/x.jsonl", "Check the address, the network"),
    ],
)
def test_an_address_that_cannot_be_fetched_says_why(tmp_path: Path, hub: Hub, address: str, reason: str) -> None:
    workspace = room(tmp_path, x={"cloud_file_name": address.replace("HUB", hub.address)})
    with pytest.raises(DataError, match=reason):
        fetch_dataset(workspace, "x")
    assert list_datasets(workspace)[0].to_fetch


def test_what_a_killed_copy_left_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "far.jsonl").write_bytes(lines(100))
    workspace, folder, seen = Workspace(tmp_path), tmp_path / "rows", list[int]()
    address = (tmp_path / "far.jsonl").as_uri()
    mark = fetch_from_cloud(workspace, address, folder, lambda done, total: seen.append(done))
    (folder / "far.jsonl").unlink()
    half = lines(100)[:3000]
    (folder / ".far.jsonl.part").write_bytes(half)
    (folder / ".far.jsonl.mark").write_text(json.dumps(mark), encoding="utf-8")
    fetch_from_cloud(workspace, address, folder, lambda done, total: seen.append(done))
    assert (folder / "far.jsonl").read_bytes() == lines(100)
    (folder / "far.jsonl").unlink()
    (folder / ".far.jsonl.part").write_bytes(b"of another file")
    (folder / ".far.jsonl.mark").write_text('"another"', encoding="utf-8")
    fetch_from_cloud(workspace, address, folder, lambda done, total: seen.append(done))
    assert (folder / "far.jsonl").read_bytes() == lines(100)
    assert set(seen) == {len(lines(100))}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"script_url": "make.py"}, "made by a program of its own .*which is not run here"),
        ({"om_hub_url": "owner/name"}, "that hub is not asked here"),
    ],
)
def test_what_is_never_fetched_is_a_problem_of_the_dataset(tmp_path: Path, entry: dict[str, str], reason: str) -> None:
    workspace = room(tmp_path, x=entry)
    with pytest.raises(DataError, match=reason):
        fetch_dataset(workspace, "x")
    assert reason[:12] in (list_datasets(workspace)[0].problem or "")


def test_a_version_of_a_fetched_dataset_lies_among_the_data(tmp_path: Path) -> None:
    (tmp_path / "far.jsonl").write_bytes(lines(5))
    workspace = room(tmp_path, **{"my set": {"cloud_file_name": (tmp_path / "far.jsonl").as_uri(), "license": "mine"}})
    fetch_dataset(workspace, "my set")
    draft = Draft.open(workspace, "my set")
    draft.remove([1])
    assert draft.save().file == "my-set.v2"
    assert len(read_datasets(workspace, ["my set"]).examples) == 4
    shutil.rmtree(workspace.cache)
    assert len(read_datasets(workspace, ["my set"]).examples) == 4
    assert [(one.file, one.current) for one in versions(workspace, "my set")] == [("my-set.v2", True)]
    use_version(workspace, "my set", "my-set.v2")
    fetch_dataset(workspace, "my set")
    assert len(read_datasets(workspace, ["my set"]).examples) == 4


@pytest.mark.slow
def test_training_fetches_what_it_needs(workspace: Path, train: Callable[..., Any]) -> None:
    rows = (workspace / "data" / "chat.json").read_bytes()
    (workspace / "far.json").write_bytes(rows)
    tree = json.loads((workspace / "dataset_info.json").read_text(encoding="utf-8"))
    tree["far"] = {"cloud_file_name": (workspace / "far.json").as_uri()}
    (workspace / "dataset_info.json").write_text(json.dumps(tree), encoding="utf-8")
    run = train("run", {"optimisation": {"max_steps": 1}, "data": {"datasets": ["far"]}})
    assert run.code == 0
    assert "The dataset far was fetched from file://" in run.notices
