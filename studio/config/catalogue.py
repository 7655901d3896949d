"""The searchable catalogue of well-known open models, read from catalogue.csv beside this file.

Adding a model is adding one line there. Its columns are the fields of CatalogueModel, in their order.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast, get_args

Kind = Literal["base", "chat", "reasoning"]

CATALOGUE_PATH = Path(__file__).with_name("catalogue.csv")


@dataclass(frozen=True)
class CatalogueModel:
    """One model, by the name that people know it by and its ids on the hubs."""

    name: str
    huggingface: str
    modelscope: str
    """Empty where the id on that hub is not known."""
    parameters: float
    """Number of parameters in billions, all experts of a mixture counted."""
    template: str
    """A chat template that Studio ships, or empty where the tokenizer's own is the one to use."""
    kind: Kind


@cache
def load_catalogue() -> tuple[CatalogueModel, ...]:
    """Every model of the catalogue, in the order of the file."""
    return read_catalogue(CATALOGUE_PATH)


def read_catalogue(path: Path) -> tuple[CatalogueModel, ...]:
    """Every model of a catalogue file.

    Raises ValueError, naming the file and the line, when a line does not have the six columns, when its parameters are
    not a number or its kind is unknown.
    """
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        next(lines, None)  # the header
        return tuple(_model(line, f"{path.name}, line {lines.line_num}") for line in lines if line)


def _model(line: list[str], place: str) -> CatalogueModel:
    if len(line) != 6:
        raise ValueError(f"{place}: {len(line)} columns, but a model needs 6: name,huggingface,...,kind.")
    name, huggingface, modelscope, parameters, template, kind = line
    if kind not in get_args(Kind):
        raise ValueError(f"{place}: kind {kind!r} is not one of {', '.join(get_args(Kind))}.")
    try:
        billions = float(parameters)
    except ValueError:
        raise ValueError(f"{place}: parameters {parameters!r} is not a number of billions, such as 7.62.") from None
    return CatalogueModel(name, huggingface, modelscope, billions, template, cast(Kind, kind))


def find(model_id: str) -> CatalogueModel | None:
    """The model of that id on Hugging Face or ModelScope, case aside; None when the catalogue does not know it."""
    wanted = model_id.lower()
    if not wanted:
        return None
    return next((one for one in load_catalogue() if wanted in (one.huggingface.lower(), one.modelscope.lower())), None)
