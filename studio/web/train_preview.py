"""What follows from the form as it is now: visible groups, faults at their fields, the sentence, command and file."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.config.faults import Fault
from studio.config.io import check, dump
from studio.config.leaves import leaves
from studio.config.train import TrainConfig
from studio.web.form import Form, changed, collect
from studio.web.summary import TO_DO, command_text, notices, sentence
from studio.web.train_parts import TrainTab, Updates, all_folded, shown_text
from studio.web.words import fault_messages, known, say


def preview(tab: TrainTab, values: Mapping[str, Any]) -> Updates:
    """Updates of everything that depends on the form. A field is touched only when its fault came or went."""
    form, language = tab.form, known(values["language"])
    config, faults = check(collect(form.schema, values))
    if config is not None:
        faults = [*faults, *tab.starter.faults(config)]
    updates: Updates = {}
    for (section, variant), column in form.members.items():
        updates[column] = gr.update(visible=values.get(f"{section}.type") == variant)
    updates |= _field_updates(tab, language, faults, values["shown_faults"])
    blocked = any(fault.severity == "fault" for fault in faults)
    updates[tab.start] = updates[tab.hold] = gr.update(interactive=not blocked)
    return updates | _summary_updates(tab, language, config, faults)


def _field_updates(tab: TrainTab, language: str, faults: list[Fault], before: Mapping[str, str]) -> Updates:
    """The sentence under each field whose fault changed: the fault, or the field's own sentence again."""
    messages, now = fault_messages(language), dict[str, str]()
    for fault in faults:
        if fault.code not in TO_DO and (key := _key(tab.form, fault)):
            now.setdefault(key, fault.sentence(messages))
    updates: Updates = {tab.shown_faults: now}
    for key in {*now, *before}:
        if now.get(key) != before.get(key):
            widget = tab.form.widgets[key]
            classes = [name for name in widget.elem_classes if name != "faulty"]
            info = now.get(key) or tab.form.text(f"fields.{key}.info")
            updates[widget] = gr.update(info=info, elem_classes=[*classes, "faulty"] if key in now else classes)
    return updates


def _key(form: Form, fault: Fault) -> str:
    """The key of the widget that a fault belongs to; "" when it belongs to none."""
    bare = fault.path.partition("[")[0]
    return next((leaf.key for leaf in leaves(form.schema) if leaf.path == bare and leaf.key in form.widgets), "")


def _summary_updates(tab: TrainTab, language: str, config: TrainConfig | None, faults: list[Fault]) -> Updates:
    if config is None:
        empty = shown_text(language, "")
        return {tab.summary: notices(language, faults), tab.command: empty, tab.file: empty}
    blocked = any(fault.severity == "fault" for fault in faults)
    line = html.escape(sentence(language, config, tab.starter.rows(config)))
    place = "" if blocked else html.escape(tab.starter.place(language, config))
    updates: Updates = {
        tab.summary: f'<p class="sentence">{line}</p><p class="place">{place}</p>{notices(language, faults)}',
        tab.command: shown_text(language, command_text(config)),
        tab.file: shown_text(language, dump(config)),
    }
    for name, fold in tab.form.folds.items():
        updates[fold] = gr.update(label=_fold_label(tab.form, language, config, name))
    return updates


def _fold_label(form: Form, language: str, config: TrainConfig, name: str) -> str:
    """What a closed group hides: its name and the settings in it that were changed."""
    section, _, variant = name.partition(".")
    own = [
        leaf for leaf in leaves(form.schema)
        if leaf.advanced and leaf.section == section and leaf.variant == (variant or None)
    ]  # fmt: skip
    whole = bool(section) and all_folded(form.schema, section)
    title = say(language, f"sections.{section}" if whole else "page.form.more")
    moved = changed(config, own)
    if not moved:
        return title
    names = ", ".join(say(language, f"fields.{leaf.key}.label") for leaf in moved[:3])
    return f"{title} · {say(language, 'page.form.changed', count=len(moved))}: {names}"
