"""`studio data` says what it did, in the words of the data room, and refuses without a traceback."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from studio.cli.data import add
from studio.config.workspace import Workspace
from studio.data.editing import Draft
from studio.data.examples import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with a good, a bad and a broken dataset."""
    (tmp_path / "data").mkdir()
    good = [{"instruction": f"q{n}", "output": "a"} for n in range(10)]
    (tmp_path / "data" / "good.json").write_text(json.dumps(good), encoding="utf-8")
    (tmp_path / "data" / "bad.jsonl").write_text('{"instruction": "a", "output": "b"}\n{"inst\n' * 2, encoding="utf-8")
    tree = {"good": {"file_name": "good.json"}, "bad": {"file_name": "bad.jsonl"}, "broken": {}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(tree), encoding="utf-8")
    return tmp_path


def studio(root: Path, *words: str) -> int:
    """Run `studio data WORDS` in a workspace; the exit code."""
    parser = argparse.ArgumentParser()
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--workspace", default=str(root))
    add(parser.add_subparsers(), shared)
    options = parser.parse_args(["data", *words])
    return options.run(options)


def test_list(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert studio(root, "list") == 0
    good, bad, broken = capsys.readouterr().out.splitlines()
    assert good.split() == ["good", "alpaca", "10", str((root / "data/good.json").stat().st_size), "B", "good.json"]
    assert "bad.jsonl" in bad
    assert "cannot be used: it names no file_name" in broken


def test_check_and_remove(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert studio(root, "check", "good") == 0
    assert studio(root, "check", "bad", "--remove", "broken,duplicate", "--to", "clean") == 1
    out = capsys.readouterr().out
    assert "not JSON: 2\n  row 2 of data/bad.jsonl: it is not valid JSON" in out
    assert "exact duplicate: 1" in out
    assert "clean: 1 rows written, 3 left out" in out
    assert studio(root, "check", "clean") == 0
    with pytest.raises(DataError, match="oops: no such finding"):
        studio(root, "check", "bad", "--remove", "oops", "--to", "n")
    with pytest.raises(DataError, match="give both"):
        studio(root, "check", "bad", "--to", "n")


def test_preview_of_a_dataset_and_of_a_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert studio(root, "preview", "good", "--start", "3", "--count", "2") == 0
    out = capsys.readouterr().out
    assert "row 3 of data/good.json (line 1) (chat)\nuser: q2\nassistant: a" in out
    assert "row 5" not in out
    assert studio(root, "preview", "data/bad.jsonl") == 0
    out = capsys.readouterr().out
    assert "instruction asks and output answers." in out
    assert "row 2 of data/bad.jsonl: it is not valid JSON" in out


def test_convert_split_and_merge(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert studio(root, "convert", "good", "--format", "sharegpt", "--to", "turns") == 0
    assert studio(root, "split", "good", "--size", "3") == 0
    assert studio(root, "merge", "turns:0.5", "good_held:2", "--to", "mix") == 0
    assert studio(root, "check", "mix", "--no-near") == 0
    assert capsys.readouterr().out.startswith(
        "turns: 10 rows written\ngood_train: 7 rows written\ngood_held: 3 rows written\nmix: 11 rows written\n"
    )
    with pytest.raises(DataError, match="'x' in 'good:x' is no weight"):
        studio(root, "merge", "good:x", "--to", "n")
    with pytest.raises(DataError, match=r"row 2 of data/bad\.jsonl.*--skip-broken"):
        studio(root, "convert", "bad", "--to", "n")


def test_versions_are_listed_and_gone_back_to(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draft = Draft.open(Workspace(root), "good")
    draft.remove([0, 1])
    draft.save()
    assert studio(root, "versions", "good") == 0
    old, new = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (old[0], old[-1]) == ("10", "good.json")
    assert (new[0], new[1], new[-1]) == ("*", "8", "good.v2.json")
    assert studio(root, "versions", "good", "--use", "good.json") == 0
    assert capsys.readouterr().out.startswith("*         10")
    with pytest.raises(DataError, match=r"'bad.jsonl' is no version of the dataset 'good'"):
        studio(root, "versions", "good", "--use", "bad.jsonl")


def test_fetch(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = {"far": {"cloud_file_name": (root / "data" / "good.json").as_uri()}, "here": {"file_name": "good.json"}}
    (root / "dataset_info.json").write_text(json.dumps(tree), encoding="utf-8")
    assert studio(root, "list") == 0
    assert "to be fetched" in capsys.readouterr().out.splitlines()[0]
    with pytest.raises(DataError, match="studio data fetch far"):
        studio(root, "check", "far")
    assert studio(root, "fetch", "far", "here") == 0
    assert studio(root, "check", "far") == 0
    assert "10 rows, 10 of them whole" in capsys.readouterr().out
