"""`studio data generate` and `studio data review`, typed; and the config that they take."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from studio.cli.main import main
from studio.config.faults import ConfigError
from studio.config.generate import GenerateConfig
from studio.config.io import command_of, dump, override, overrides_of, parse, read_yaml
from studio.config.workspace import Workspace
from studio.data.reading import read_datasets
from tests.fake_endpoint import FakeEndpoint
from tests.generate.conftest import ROOT, Study

BASE = {"endpoint": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}, "source": {"dataset": "chat"}}


def test_from_the_command_to_rows_in_a_dataset(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    def studio(*words: str) -> tuple[int, str]:
        code = main([*words, "--workspace", str(study.root)])
        said = capsys.readouterr()
        return code, said.out + said.err

    with FakeEndpoint() as endpoint:
        (study.root / "job.yaml").write_text(dump(study.config(endpoint)), encoding="utf-8")
        code, said = studio("data", "generate", str(study.root / "job.yaml"), "rows.count=5", "rows.dataset=made")
        assert code == 0, said
    code, said = studio("data", "review", "run", "--count", "2")
    assert code == 0 and "row 1 (pending), from seed task" in said and "5 pending" in said and "and 3 more" in said
    code, said = studio("data", "review", "run", "--accept", "1,3-4", "--reject", "2", "--to")
    assert (
        code == 0
        and "made: 3 rows written, in data/made.jsonl" in said
        and "1 pending, 0 accepted, 1 rejected, 3 added" in said
    )
    assert len(read_datasets(Workspace(study.root), ["made"]).examples) == 3
    assert studio("data", "review", "run", "--undo") == (2, "There is no decision to take back.\n")
    assert studio("data", "review", "run", "--accept", "1")[0] == 2
    for name in ("nobody", "../run", "run/inner", "../../etc"):
        code, said = studio("data", "review", name)
        assert code == 2 and ("written by a run" in said or "outside the workspace" in said)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["source.type=documents", "source.dataset=null", "source.paths=[nowhere]"], "source"),
        (["source.file=nowhere.json", "source.dataset=null"], "There is no file or folder 'nowhere.json'"),
        (["source.file=../x.json", "source.dataset=null"], "outside the workspace"),
        (["source.dataset=chatt"], "Did you mean 'chat'?"),
    ],
)
def test_what_is_not_there_is_said_before_anything_starts(
    study: Study, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    (study.root / "job.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    assert main(["data", "generate", str(study.root / "job.yaml"), *words, "--workspace", str(study.root)]) == 2
    assert reason in capsys.readouterr().err
    assert not (study.root / "saves").exists() or not list((study.root / "saves").glob("*/config.yaml"))


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("generate*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_sound(path: Path) -> None:
    config = parse(read_yaml(path.read_text(encoding="utf-8")), GenerateConfig)
    assert parse(override({}, overrides_of(config)), GenerateConfig) == config
    assert command_of(config)[:3] == ["studio", "data", "generate"]
    assert parse(read_yaml(dump(config)), GenerateConfig) == config


def test_there_is_an_example_for_each_source() -> None:
    found = [
        read_yaml(path.read_text(encoding="utf-8"))["source"] for path in (ROOT / "configs").glob("generate*.yaml")
    ]
    assert {source.get("type", "seeds") for source in found} == {"seeds", "documents"}


@pytest.mark.parametrize(
    ("changes", "path", "reason"),
    [
        (["endpoint.base_url=ftp://x"], "endpoint.base_url", "up to /v1"),
        (["endpoint.base_url=https://user:secret@host/v1"], "endpoint.base_url", "without a key"),
        (["endpoint.base_url=https://host/v1?api_key=1"], "endpoint.base_url", "without a key"),
        (["endpoint.key_variable=sk-123456"], "endpoint.key_variable", "_KEY or _TOKEN"),
        (["endpoint.key_variable=HOME"], "endpoint.key_variable", "_KEY or _TOKEN"),
        (["endpoint.further={api_key: x}"], "endpoint.further", "must not hold secrets"),
        (["endpoint.further={max_tokens: 5}"], "endpoint.further", "endpoint.max_tokens"),
        (["endpoint.further={stream: true}"], "endpoint.further", "'stream'"),
        (["source.prompt=Write something."], "source.prompt", "{examples}"),
        (["target.prompt=Write something."], "target.prompt", "{count}"),
        (["source.dataset=null"], "source.dataset", "source.file"),
        (["source.file=x.json"], "source.dataset", "Keep one"),
        (["rows.dataset=../x"], "rows.dataset", "begin with a dot"),
        (["rows.count=0"], "rows.count", "at least 1"),
    ],
)
def test_faults_are_found_at_their_field(changes: list[str], path: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(override(BASE, changes), GenerateConfig)
    assert [fault.path for fault in caught.value.faults] == [path]
    assert reason in caught.value.faults[0].sentence()
    assert "sk-123456" not in str(caught.value) or path == "endpoint.key_variable"


def test_passages_must_move_on() -> None:
    tree = {**BASE, "source": {"type": "documents", "paths": ["x"], "chunk_size": 300, "overlap": 200}}
    with pytest.raises(ConfigError, match="at most 150"):
        parse(tree, GenerateConfig)
