"""The schema as a form: one widget a setting, made, read and filled by walking the same list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import yaml
from gradio.components import Component
from pydantic import BaseModel

from studio.config.io import spell
from studio.config.leaves import Group, Leaf, applies, groups, leaves, value_at
from studio.web.providers import Provider

Text = Any  # gr.I18n hands out markers that the browser turns into words


@dataclass
class Form:
    """The widgets of one schema by leaf key, and the containers that come and go with a choice."""

    schema: type[BaseModel]
    providers: Mapping[str, Provider]
    text: Any
    widgets: dict[str, Component] = field(default_factory=dict[str, Component])
    members: dict[tuple[str, str], gr.Column] = field(default_factory=dict[tuple[str, str], gr.Column])
    folds: dict[str, gr.Accordion] = field(default_factory=dict[str, gr.Accordion])

    def leaf(self, key: str) -> Leaf:
        """The leaf of that key. Raises KeyError."""
        return {leaf.key: leaf for leaf in leaves(self.schema)}[key]

    def draw_card(self, group: Group) -> None:
        """One section as a card: its basic settings in sight, the others folded away."""
        own = [leaf for leaf in leaves(self.schema) if leaf.section == group.name]
        with gr.Column(elem_classes=["card"], elem_id=f"card-{group.name}"):
            gr.HTML(f"<h2>{self.text(f'sections.{group.name}')}</h2>", elem_classes=["card-title"])
            self.draw_leaves([leaf for leaf in own if leaf.variant is None and not leaf.advanced])
            for variant in group.variants:
                inner = [leaf for leaf in own if leaf.variant == variant]
                if inner:
                    with gr.Column(visible=variant == group.default_variant, elem_classes=["member"]) as column:
                        self.draw_leaves([leaf for leaf in inner if not leaf.advanced])
                        self.draw_fold(f"{group.name}.{variant}", [leaf for leaf in inner if leaf.advanced])
                    self.members[group.name, variant] = column
            self.draw_fold(group.name, [leaf for leaf in own if leaf.variant is None and leaf.advanced])

    def draw_fold(self, name: str, own: list[Leaf], title: str = "page.form.more") -> None:
        """Settings behind a line that can be opened; nothing when there are none."""
        if own:
            with gr.Accordion(self.text(title), open=False, elem_classes=["fold"], elem_id=f"fold-{name}") as fold:
                self.draw_leaves(own)
            self.folds[name] = fold

    def draw_leaves(self, own: list[Leaf]) -> None:
        """The widgets of some settings, in the order of the schema, as wide as their content asks."""
        with gr.Row(elem_classes=["fields"]):
            for leaf in own:
                self.widgets[leaf.key] = self._widget(leaf)

    def _widget(self, leaf: Leaf) -> Component:
        key = f"fields.{leaf.key}"
        wide = leaf.kind in ("type", "list", "mapping") or leaf.choices is not None or leaf.kind == "text"
        shared: dict[str, Any] = {
            "label": self.text(f"{key}.label"),
            "info": self.text(f"{key}.info"),
            "elem_id": f"field-{leaf.key.replace('.', '-')}",
            "elem_classes": ["field", f"kind-{leaf.kind}", "wide" if wide else "narrow"],
            "interactive": True,
            "min_width": 100,
            "value": self.first_value(leaf),
        }
        if leaf.kind == "type":
            choices = [(self.text(f"{key}.options.{option}"), option) for option in leaf.options]
            return gr.Radio(choices=choices, **shared)
        if leaf.kind == "flag":
            return gr.Checkbox(**shared)
        if leaf.choices is not None or leaf.options:
            return self._dropdown(leaf, shared)
        if leaf.kind in ("integer", "number", "text"):
            return gr.Textbox(max_lines=1, placeholder=placeholder(leaf), **shared)
        return gr.Textbox(lines=2, max_lines=8, placeholder=placeholder(leaf), **shared)

    def first_value(self, leaf: Leaf) -> Any:
        """What a fresh form shows: the default, or the first choice of a setting that has none and must be made."""
        if leaf.required and leaf.choices is not None:
            first = next(iter(self.providers[leaf.choices.provider]()), None)
            return first[1] if isinstance(first, tuple) else first
        return to_widget(leaf, leaf.default)

    def _dropdown(self, leaf: Leaf, shared: dict[str, Any]) -> Component:
        options: list[Any] = [*leaf.alone, *leaf.options]
        free = False
        if leaf.choices is not None:
            options += [option for option in self.providers[leaf.choices.provider]() if option not in options]
            free = leaf.choices.free
        return gr.Dropdown(
            choices=options, multiselect=leaf.kind == "list", allow_custom_value=free, filterable=True, **shared
        )

    def refreshed_choices(self) -> dict[Component, Any]:
        """Updates of every list of choices that depends on what lies in the workspace."""
        updates: dict[Component, Any] = {}
        for leaf in leaves(self.schema):
            if leaf.choices is not None:
                found = [*leaf.alone, *leaf.options, *self.providers[leaf.choices.provider]()]
                updates[self.widgets[leaf.key]] = gr.update(choices=list(dict.fromkeys(found)))
        return updates


def placeholder(leaf: Leaf) -> str:
    """What an empty box means: the default, or nothing at all."""
    if leaf.required or leaf.optional:
        return ""
    return to_widget(leaf, leaf.default) if leaf.kind in ("integer", "number", "text") else ""


def to_widget(leaf: Leaf, value: Any) -> Any:
    """A value of the schema as its widget shows it."""
    if leaf.kind in ("type", "flag", "select"):
        return value
    if leaf.kind == "list":
        entries = [value] if isinstance(value, str) else [str(entry) for entry in value or []]
        return entries if leaf.choices is not None or leaf.options else "\n".join(entries)
    if value is None:
        return "" if leaf.choices is None else None
    if leaf.kind == "mapping":
        return spell(value) if value else ""
    return number_text(value) if leaf.kind == "number" else str(value)


def number_text(value: float) -> str:
    """A number in the shortest spelling that reads back as itself: 0.0002 as 2e-4, 3.0 as 3."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if abs(value) >= 1e-3:
        return repr(value)
    mantissa, _, exponent = f"{value:.17e}".partition("e")
    for digits in range(17):
        short = f"{value:.{digits}e}"
        if float(short) == value:
            mantissa, _, exponent = short.partition("e")
            break
    return f"{mantissa}e{int(exponent)}"


def from_widget(leaf: Leaf, shown: Any) -> Any:
    """What a widget shows as the value that a YAML file would hold; None when it is left empty."""
    if leaf.kind == "flag":
        return bool(shown)
    if leaf.kind == "list":
        entries = shown if isinstance(shown, list) else [line.strip() for line in (shown or "").splitlines()]
        entries = [entry for entry in entries if entry != ""]
        return entries[0] if len(entries) == 1 and entries[0] in leaf.alone else entries
    if shown is None or (isinstance(shown, str) and not shown.strip()):
        return None
    if leaf.kind == "mapping":
        return _mapping(str(shown))
    return shown.strip() if isinstance(shown, str) else shown


def _mapping(text: str) -> Any:
    """The mapping that the text spells; the text itself when it is not YAML, so that its field gets the fault."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def collect(schema: type[BaseModel], shown: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of a config from what the widgets show, by leaf key: only settings of the chosen types."""
    tree: dict[str, Any] = {}
    chosen = {group.name: shown.get(f"{group.name}.type") for group in groups(schema) if group.variants}
    for leaf in leaves(schema):
        if leaf.variant is not None and chosen[leaf.section] != leaf.variant:
            continue
        value = from_widget(leaf, shown.get(leaf.key))
        if value is None and not leaf.optional:
            continue
        (tree.setdefault(leaf.section, {}) if leaf.section else tree)[leaf.name] = value
    return tree


def fill(config: BaseModel) -> dict[str, Any]:
    """What the widgets show for `config`, by leaf key: `collect` of it parses to the same config."""
    return {leaf.key: to_widget(leaf, value_at(config, leaf)) for leaf in leaves(type(config))}


def changed(config: BaseModel, own: list[Leaf]) -> list[Leaf]:
    """Those of the settings that hold something else than their default."""
    return [leaf for leaf in own if applies(config, leaf) and value_at(config, leaf) != leaf.default]
