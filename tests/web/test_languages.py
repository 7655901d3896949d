"""Every language says everything: same keys, same placeholders, no empty text, no key that the page asks in vain."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

import studio.web
from studio.config.faults import MESSAGES
from studio.runs.metrics import NON_FINITE, RESUMED
from studio.runs.states import State
from studio.runs.store import Job
from studio.web.chart_places import FIRST
from studio.web.panels import PANELS
from studio.web.run_detail import actions
from studio.web.words import ENGLISH, fault_messages, languages, say, words

WEB = Path(studio.web.__file__).parent
RECORDER = WEB.parent / "tasks" / "recorder.py"
SOURCES = sorted([*WEB.glob("*.py"), *WEB.glob("static/*.js")])
TRANSLATIONS = [language for language in languages() if language != ENGLISH]

# A literal that begins with "page.": a whole key, or up to `{` (Python) or `${` (JavaScript) the beginning of one.
_LITERALS = {
    ".py": re.compile(r"""["'](page\.[\w.]*)(\{)?"""),
    ".js": re.compile(r"""["'`](page\.[\w.]*)(\$\{)?"""),
}
_FILES = {path.name for path in SOURCES}


def asked_keys() -> Iterator[tuple[str, str, bool]]:
    """Every text key in the page's sources: (file, key, whether it is only the beginning of a key)."""
    for path in SOURCES:
        for key, opening in _LITERALS[path.suffix].findall(path.read_text(encoding="utf-8")):
            if key not in _FILES:
                yield path.name, key, bool(opening) or key.endswith(".")


def placeholders(text: str) -> set[str]:
    """The names that `str.format` would fill in; conversions and formats do not count."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_chinese_is_there() -> None:
    assert languages()[0] == ENGLISH
    assert "zh" in TRANSLATIONS


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_same_keys_as_english(language: str) -> None:
    english, own = set(words(ENGLISH)), set(words(language))
    assert {"missing": sorted(english - own), "unknown": sorted(own - english)} == {"missing": [], "unknown": []}


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_same_placeholders_as_english(language: str) -> None:
    english, own = words(ENGLISH), words(language)
    differing = {
        key: (sorted(placeholders(text)), sorted(placeholders(own[key])))
        for key, text in english.items()
        if key in own and placeholders(text) != placeholders(own[key])
    }
    assert differing == {}


@pytest.mark.parametrize("language", languages())
def test_no_text_is_empty(language: str) -> None:
    assert [key for key, text in words(language).items() if not text.strip()] == []


@pytest.mark.parametrize("language", languages())
def test_the_scripts_can_fill_in_texts_of_the_page(language: str) -> None:
    """`studio.say` in page.js knows `{name}` alone, neither conversions nor formats nor doubled braces."""
    odd = [
        key
        for key, text in words(language).items()
        if key.startswith("page.") and re.search(r"[{}]", re.sub(r"\{\w+\}", "", text))
    ]
    assert odd == []


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_sentences_are_translated(language: str) -> None:
    """One word may be the same in two languages; four words in a row are a text that was forgotten."""
    english, own = words(ENGLISH), words(language)
    assert [key for key, text in english.items() if len(text.split()) > 3 and own.get(key) == text] == []


@pytest.mark.parametrize("language", languages())
def test_every_fault_can_be_said(language: str) -> None:
    messages = fault_messages(language)
    assert set(messages) == set(MESSAGES)
    for code, text in messages.items():
        filled = text.format(**{name: f"<{name}>" for name in placeholders(MESSAGES[code])})
        assert all(f"<{name}>" in filled for name in placeholders(MESSAGES[code]))


def test_every_key_that_the_page_asks_for_exists() -> None:
    known = set(words(ENGLISH))
    asked = list(asked_keys())
    assert len(asked) > 50, "the search for keys finds hardly any: has the page another way to ask?"
    missing = [
        (file, key)
        for file, key, is_beginning in asked
        if not (any(one.startswith(key) for one in known) if is_beginning else key in known)
    ]
    assert missing == []


def test_every_value_that_completes_a_key_has_a_text() -> None:
    """Keys such as page.runs.states.${state} are put together from values that other modules define."""
    jobs = [Job("id", "name", "train", state, 0.0, held=held) for state in State for held in (False, True)]
    wanted = {
        "page.runs.states.": {*State, "held"},
        "page.runs.views.": set(PANELS),
        "page.runs.actions.": {action for job in jobs for action in actions(job)},
        "page.runs.charts.": {*FIRST, "raw", "smoothed"},
        "page.form.exists_": {"resume", "rename", "replace", "cancel"},
    }
    missing = [
        prefix + value for prefix, values in wanted.items() for value in values if prefix + value not in words(ENGLISH)
    ]
    assert missing == []


def test_every_event_of_a_run_has_a_text() -> None:
    written = set(re.findall(r"""_event\(["'](\w+)["']""", RECORDER.read_text(encoding="utf-8")))
    assert RESUMED in written
    missing = [event for event in {*written, NON_FINITE} if f"page.runs.events.{event}" not in words(ENGLISH)]
    assert missing == []


def test_saying_fills_in_values_and_refuses_unknown_keys() -> None:
    assert say("zh", "page.runs.step") != say(ENGLISH, "page.runs.step")
    assert "7" in say("zh", "page.runs.position", position=7)
    assert say("no such language", "page.tabs.train") == say(ENGLISH, "page.tabs.train")
    with pytest.raises(KeyError):
        say(ENGLISH, "page.no_such_text")
