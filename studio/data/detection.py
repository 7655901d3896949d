"""What a file probably is, from its first rows: its format, which column is what, and why that is thought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from studio.data.examples import BadRow, DataError
from studio.data.files import RawRow, rows_of
from studio.data.registry import DatasetEntry, Formatting, read_entry
from studio.data.values import items, mapping, sequence

ROWS_LOOKED_AT = 50

QUESTIONS = ("instruction", "prompt", "query", "question", "user", "human", "problem", "input", "content", "title")
ANSWERS = ("output", "response", "answer", "completion", "bot", "assistant", "gpt", "solution", "target", "summary",
           "reply")  # fmt: skip
TALKS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat", "prompt", "completion")
SYSTEMS = ("system", "system_prompt")
TEXTS = ("text", "content", "raw_content", "body", "document", "passage")
LABELS = ("label", "kto_tag", "desirable")
PREFERENCES = (("chosen", "rejected"), ("preferred", "dispreferred"), ("winner", "loser"))
TAGS = (("role", "content"), ("from", "value"), ("role", "text"), ("speaker", "text"), ("from", "content"))
ROLES: Mapping[str, tuple[str, ...]] = {
    "system_tag": ("system",),
    "user_tag": ("user", "human", "prompter", "instruction", "question"),
    "assistant_tag": ("assistant", "gpt", "bot", "model", "chatgpt", "bard", "ai", "answer"),
    "observation_tag": ("observation", "tool", "function_response"),
    "function_tag": ("function_call", "tool_call"),
}


@dataclass(frozen=True)
class Detection:
    """What an entry of the registry needs to know of a file, and in `why` the reasons, one sentence each.

    `found` are the columns of the rows in their order, for a person to correct the choice.
    """

    formatting: Formatting
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    ranking: bool = False
    why: tuple[str, ...] = ()
    found: tuple[str, ...] = ()

    def entry(self, file_name: str) -> dict[str, Any]:
        """The value that the registry gets: only what differs from the defaults."""
        plain = read_entry("", {"file_name": file_name, "formatting": self.formatting})
        if not isinstance(plain, DatasetEntry):
            raise DataError(plain.reason)
        columns = {key: name for key, name in self.columns.items() if plain.columns.get(key) != name}
        tags = {key: name for key, name in self.tags.items() if plain.tags.get(key) != name}
        value: dict[str, Any] = {"file_name": file_name}
        if self.formatting != "alpaca":
            value["formatting"] = self.formatting
        if self.ranking:
            value["ranking"] = True
        return value | ({"columns": columns} if columns else {}) | ({"tags": tags} if tags else {})


def detect(path: Path, source: str = "") -> Detection:
    """The format of a file or folder by its first rows. Raises DataError when no row can be read or none is known."""
    rows = list(islice(rows_of(path, source or path.name), ROWS_LOOKED_AT))
    whole = [row for row in rows if isinstance(row, RawRow)]
    if not whole:
        bad = next((str(row) for row in rows if isinstance(row, BadRow)), "it is empty")
        raise DataError(f"{source or path.name} holds no row that can be read: {bad}")
    if whole[0].plain:
        return Detection("text", why=("Each line is a text.",))
    return detect_rows([row.value for row in whole], source or path.name)


def detect_rows(rows: list[Any], source: str) -> Detection:
    """The format of rows. Raises DataError, naming the columns, for those that no format knows."""
    present = Counter(key for row in rows for key in mapping(row))
    found = tuple(str(key) for key in present)
    filled = {key: [mapping(row)[key] for row in rows if mapping(row).get(key) not in (None, "")] for key in present}
    detection = _preference(filled) or _talk(filled) or _pair(filled) or _alone(filled)
    if detection is None:
        shown = ", ".join(found) or type(rows[0]).__name__
        raise DataError(f"{source} is of no known format. Its columns: {shown}. Say which one is what under columns.")
    return Detection(
        detection.formatting, detection.columns, detection.tags, detection.ranking, detection.why, found=found
    )


Filled = Mapping[str, list[Any]]


def _preference(filled: Filled) -> Detection | None:
    for chosen, rejected in PREFERENCES:
        if chosen not in filled or rejected not in filled:
            continue
        why = f"{chosen} and {rejected} are two answers of which the first is better."
        columns = {"chosen": chosen, "rejected": rejected}
        talk = _talk({key: value for key, value in filled.items() if key not in (chosen, rejected)}, answered=True)
        if talk:
            return Detection(talk.formatting, {**talk.columns, **columns}, talk.tags, True, (why, *talk.why))
        sides = [turn for side in filled[chosen] for turn in sequence(side)]
        if sides:
            tags, reasons = _tags(sides)
            return Detection("openai", columns, tags, True, (why, "Both hold the whole conversation.", *reasons))
        question = _first(filled, QUESTIONS)
        if question:
            more = _beside(filled, question)
            return Detection("alpaca", {"prompt": question, **columns, **more}, {}, True, (why, f"{question} asks."))
    return None


def _talk(filled: Filled, answered: bool = False) -> Detection | None:
    """A column of turns. `answered`: the answers stand elsewhere, so that turns without one are no lone prompts."""
    for column in (*TALKS, *(key for key in filled if key not in TALKS)):
        turns = [turn for value in filled.get(column, ()) for turn in sequence(_from_cell(value))]
        if not turns or not all(isinstance(turn, dict) for turn in turns):
            continue
        names = {name for role_tag, content_tag in TAGS for name in (role_tag, content_tag)}
        if not names.intersection(*(mapping(turn) for turn in turns[:5])):
            continue
        tags, reasons = _tags(turns)
        formatting: Formatting = "sharegpt" if tags["role_tag"] == "from" else "openai"
        columns = {"messages": column, **_system(filled), **_label(filled)}
        why = (f"{column} is a list of turns.", *reasons)
        if not answered and not any(mapping(turn).get(tags["role_tag"]) == tags["assistant_tag"] for turn in turns):
            formatting, why = "prompt", (*why, "None is an answer.")
        return Detection(formatting, columns, tags, False, why)
    return None


def _tags(turns: list[Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    keys = set(mapping(turns[0])) if turns else set[str]()
    role_tag, content_tag = next((pair for pair in TAGS if keys.issuperset(pair)), TAGS[0])
    names = Counter(str(mapping(turn).get(role_tag)) for turn in turns)
    tags = {"role_tag": role_tag, "content_tag": content_tag}
    for tag, known in ROLES.items():
        hit = next((name for name in names if name.lower() in known), None)
        if hit is not None:
            tags[tag] = hit
    if "assistant_tag" not in tags:
        tags["assistant_tag"] = "gpt" if role_tag == "from" else "assistant"
    shown = ", ".join(name for name, _ in names.most_common(6))
    return tags, (f"Turns say who speaks under {role_tag} ({shown}) and what under {content_tag}.",)


def _pair(filled: Filled) -> Detection | None:
    question = _first(filled, QUESTIONS)
    answer = _first({key: value for key, value in filled.items() if key != question}, ANSWERS)
    if question is None or answer is None:
        return None
    columns = {"prompt": question, "response": answer, **_beside(filled, question), **_label(filled)}
    reasons = [f"{question} asks and {answer} answers."]
    if "kto_tag" in columns:
        reasons.append(f"{columns['kto_tag']} judges the answer.")
    return Detection("alpaca", columns, {}, False, tuple(reasons))


def _alone(filled: Filled) -> Detection | None:
    question = next((key for key in ("prompt", "instruction", "question", "query") if _is_text(filled, key)), None)
    if question:
        columns = {"prompt": question, **_system(filled)}
        return Detection("prompt", columns, {}, False, (f"{question} asks and nothing answers.",))
    text = _first(filled, TEXTS) or next((key for key in filled if len(filled) == 1 and _is_text(filled, key)), None)
    return Detection("text", {"text": text}, {}, False, (f"{text} is plain text.",)) if text else None


def _beside(filled: Filled, question: str) -> dict[str, str]:
    """Columns that come with a question: more of it, what was said before, a system text."""
    columns = _system(filled)
    if "history" in filled:
        columns["history"] = "history"
    if "input" in filled and question == "instruction":
        columns["query"] = "input"
    return columns


def _system(filled: Filled) -> dict[str, str]:
    system = _first(filled, SYSTEMS)
    return {"system": system} if system else {}


def _label(filled: Filled) -> dict[str, str]:
    for column in LABELS:
        values = filled.get(column, ())
        if values and all(str(value).lower() in ("true", "false", "0", "1") for value in values):
            return {"kto_tag": column}
    return {}


def _first(filled: Filled, names: tuple[str, ...]) -> str | None:
    """The column that has one of the names, whatever their case; earlier names win."""
    lower = {key.lower(): key for key in filled}
    return next((lower[name] for name in names if name in lower and _is_text(filled, lower[name])), None)


def _is_text(filled: Filled, key: str) -> bool:
    values = filled.get(key, ())
    return bool(values) and all(isinstance(value, str) for value in values)


def _from_cell(value: Any) -> Any:
    """A list that a table holds as JSON text."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    try:
        return items({"": value}, "")
    except DataError:
        return value
