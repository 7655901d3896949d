"""What the buttons of the Train tab do: start, load a file, take over a run's settings, go back to the defaults."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import BaseModel

from studio.config.faults import ConfigError
from studio.config.io import check, parse, read_yaml
from studio.config.leaves import leaves
from studio.runs.errors import RunError
from studio.runs.folder import RunFolder
from studio.web.form import collect, fill
from studio.web.start import Exists
from studio.web.train_parts import TrainTab, Updates
from studio.web.words import fault_messages, known, say

CHOICES = "choices:"  # in the place of a run's name: another tab has made or removed what can be chosen
DATASET = "dataset:"  # in front of the name of a dataset that the form is to be filled with


def start(tab: TrainTab, values: Mapping[str, Any], if_exists: str, hold: bool) -> Updates:
    """Queue what the form shows. An existing run becomes a question, never an overwritten folder."""
    language = known(values["language"])
    try:
        config = parse(collect(tab.form.schema, values))
        name = tab.starter.start(config, if_exists, hold)
    except ConfigError as error:
        raise gr.Error(_sentences(language, error)) from None
    except Exists as exists:
        words = say(
            language,
            "page.form.exists",
            name=exists.name,
            state=say(language, f"page.runs.states.{exists.state}"),
            size=exists.size,
        )
        return {tab.question: gr.update(visible=True), tab.question_text: f"<p>{html.escape(words)}</p>"}
    except (OSError, RunError) as error:
        raise gr.Error(html.escape(str(error))) from None
    gr.Info(say(language, "page.form.started", name=name))
    return {tab.question: gr.update(visible=False), tab.hidden["opened"]: name}


def load_yaml(tab: TrainTab, path: str, spoken: str) -> Updates:
    """Put the settings of a YAML file into the form. A file with faults changes nothing."""
    source, language = Path(path), known(spoken)
    try:
        config = parse(read_yaml(source.read_text(encoding="utf-8")))
    except ConfigError as error:
        said = say(language, "page.form.bad_yaml_name", name=source.name)
        raise gr.Error(f"{html.escape(said)}<br>{_sentences(language, error)}") from None
    except UnicodeDecodeError as error:
        raise gr.Error(f"{html.escape(source.name)}: {error}") from None
    return _shown(tab, config)


def take_over(tab: TrainTab, given: str, spoken: str) -> Updates:
    """Put the settings of a run into the form, all but its name. `given` is the name, a space and a time.

    `dataset:NAME` in place of a run's name chooses that dataset alone and leaves the other settings as they are;
    `choices:` leaves all as they are and only looks anew what can be chosen.
    """
    name, language = given.rpartition(" ")[0], known(spoken)
    if name == CHOICES:
        return tab.form.refreshed_choices()
    if name.startswith(DATASET):
        return _with_dataset(tab, name.removeprefix(DATASET))
    try:
        config, faults = check(read_yaml(RunFolder(tab.workspace.resolve(f"saves/{name}")).config_text()))
        if config is None:
            raise ConfigError(faults)
    except ConfigError as error:
        raise gr.Error(_sentences(language, error)) from None
    gr.Info(say(language, "page.form.filled", name=name))
    return _shown(tab, config.model_copy(update={"name": None}))


def _with_dataset(tab: TrainTab, name: str) -> Updates:
    """Train on one dataset: the first setting whose choices are datasets gets it, with the choices as they are now."""
    leaf = next(leaf for leaf in leaves(tab.form.schema) if leaf.choices and leaf.choices.provider == "datasets")
    fresh = tab.form.refreshed_choices()
    return {tab.form.widgets[leaf.key]: gr.update(value=[name], choices=fresh[tab.form.widgets[leaf.key]]["choices"])}


def first_values(tab: TrainTab) -> Updates:
    """Every widget as on a fresh page."""
    return {tab.form.widgets[leaf.key]: tab.form.first_value(leaf) for leaf in leaves(tab.form.schema)}


def _shown(tab: TrainTab, config: BaseModel) -> Updates:
    return {tab.form.widgets[key]: value for key, value in fill(config).items()}


def _sentences(language: str, error: ConfigError) -> str:
    """Every fault on a line of its own, safe to stand in a page."""
    messages = fault_messages(language)
    return "<br>".join(html.escape(f"{fault.path} {fault.sentence(messages)}".strip()) for fault in error.faults)
