"""The model catalogue is sound line by line, and a model is found by its id."""

from __future__ import annotations

import re
from collections import Counter

from studio.config.catalogue import CATALOGUE_PATH, find, load_catalogue
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


def test_a_model_is_found_by_either_of_its_ids() -> None:
    by_one, by_other = find("meta-llama/Llama-2-7b-hf"), find("modelscope/llama-2-7b-ms")
    assert by_one is not None and by_one is by_other
    assert find("no/such-model") is None
    assert find("") is None
