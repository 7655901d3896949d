"""The model catalogue is sound line by line, and a search finds what a person would type."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from studio.config.catalogue import CATALOGUE_PATH, load_catalogue, read_catalogue, search
from studio.config.templates import TEMPLATE_NAMES

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HEADER = "name,huggingface,modelscope,parameters,template,kind\n"


def repeated(values: list[str]) -> list[str]:
    return [value for value, count in Counter(value.lower() for value in values).items() if count > 1]


def test_catalogue_is_large_and_names_no_model_twice() -> None:
    models = load_catalogue()
    assert len(models) >= 180
    assert repeated([model.name for model in models]) == []
    assert repeated([model.huggingface for model in models]) == []
    assert repeated([model.modelscope for model in models if model.modelscope]) == []


def test_every_model_has_ids_like_owner_slash_name() -> None:
    for model in load_catalogue():
        assert HUB_ID.fullmatch(model.huggingface), model
        assert not model.modelscope or HUB_ID.fullmatch(model.modelscope), model


def test_every_model_has_a_plausible_size_a_known_kind_and_a_shipped_template() -> None:
    for model in load_catalogue():
        assert 0.001 < model.parameters < 2000, model
        assert model.kind in ("base", "chat", "reasoning"), model
        assert model.template in ("", *TEMPLATE_NAMES), model


def test_size_in_a_name_is_about_the_number_of_parameters() -> None:
    """Makers round freely (Falcon3-1B has 1.67 billion), so this finds a slipped point or a swapped line."""
    for model in load_catalogue():
        size = re.search(r"(?:^|[-_])(\d+(?:\.\d+)?)([BM])(?![A-Za-z0-9])", model.name, re.IGNORECASE)
        if size and "8x" not in model.name:
            billions = float(size[1]) / (1000 if size[2].lower() == "m" else 1)
            assert 0.8 * billions <= model.parameters <= 1.7 * billions, model


def test_lines_are_tidy_and_the_header_names_the_columns() -> None:
    lines = CATALOGUE_PATH.read_text(encoding="utf-8").splitlines()
    assert lines[0] + "\n" == HEADER
    assert len(lines) == len(load_catalogue()) + 1
    assert [line for line in lines if line != line.strip() or '"' in line or ", " in line] == []


def test_the_shipped_model_is_in_the_catalogue() -> None:
    assert search("SmolLM2-135M-Instruct")[0].huggingface == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_search_takes_words_in_any_order_and_case() -> None:
    names = {model.name for model in search("CODER qwen2.5 7b", 50)}
    assert names == {"Qwen2.5-Coder-7B", "Qwen2.5-Coder-7B-Instruct"}


def test_search_puts_names_that_begin_with_the_text_first() -> None:
    names = [model.name for model in search("llama-3", 100)]
    begins = [name.lower().startswith("llama-3") for name in names]
    assert begins == sorted(begins, reverse=True)
    assert any(begins) and not all(begins)


def test_search_by_owner_and_by_kind() -> None:
    assert {model.huggingface.split("/")[0] for model in search("IlyaGusev")} == {"IlyaGusev"}
    assert {model.kind for model in search("reasoning deepseek", 50)} == {"reasoning"}


def test_search_respects_the_limit_and_may_find_nothing() -> None:
    assert len(search("", 7)) == 7
    assert search("", 0) == ()
    assert search("no such model anywhere") == ()


def test_one_more_line_is_one_more_model(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.csv"
    path.write_text(HEADER + "Mine-1B,me/mine-1b,,1.1,default,base\n", encoding="utf-8")
    (model,) = read_catalogue(path)
    assert (model.name, model.modelscope, model.parameters, model.template) == ("Mine-1B", "", 1.1, "default")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Mine-1B,me/mine-1b,1.1,default,base", "catalogue.csv, line 2: 5 columns"),
        ("Mine-1B,me/mine-1b,,big,default,base", "line 2: parameters 'big'"),
        ("Mine-1B,me/mine-1b,,1.1,default,chatty", "line 2: kind 'chatty'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "catalogue.csv"
    path.write_text(HEADER + line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_catalogue(path)
