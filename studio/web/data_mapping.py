"""Columns and their roles: from what a person clicked to an entry of the registry, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from studio.data.examples import DataError
from studio.data.registry import DatasetEntry, read_entry
from studio.data.values import PLACEHOLDER, from_json, mapping, sequence

# What a column can be, by the key that the registry has for it.
ROLES = ("prompt", "query", "response", "messages", "text", "system", "history", "tools", "chosen", "rejected",
         "kto_tag", "images", "videos", "audios")  # fmt: skip
MEDIA = ("images", "videos", "audios")
TAGS = ("user_tag", "assistant_tag", "system_tag", "observation_tag", "function_tag")
MOST_SPEAKERS = 12

_KEYS: Mapping[str, tuple[str, ...]] = {
    "alpaca": ("prompt", "query", "response", "history", "system", "kto_tag"),
    "sharegpt": ("messages", "system", "tools", "kto_tag"),
    "openai": ("messages", "system", "tools", "kto_tag"),
    "prompt": ("messages", "prompt", "system", "tools"),
    "text": ("text",),
}
# Of these an entry may say that the file's column of that name is not meant: an empty name.
_OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "alpaca": ("query", "history", "system"),
    "sharegpt": ("system", "tools"),
    "openai": ("system", "tools"),
    "prompt": ("messages", "system", "tools"),
    "text": (),
}


def roles_of(entry: DatasetEntry, found: Sequence[str]) -> dict[str, str]:
    """The role of each column of the rows, as the entry has it; columns without one are left out."""
    columns, named = entry.columns, entry.named_columns
    if entry.formatting in ("alpaca", "text") and _means_text(entry, found):
        text = columns["prompt" if "prompt" in named else "text"]
        return {text: "text"} if text in found else {}
    keys = [*_KEYS[entry.formatting], *(key for key in (*MEDIA, "tools") if key in named)]
    if entry.ranking:
        keys = [*(key for key in keys if key not in ("response", "kto_tag")), "chosen", "rejected"]
    return {columns[key]: key for key in keys if columns.get(key) in found}


def entry_value(roles: Mapping[str, str], tags: Mapping[str, str], found: Sequence[str]) -> dict[str, Any]:
    """What the registry says of a file whose columns have these roles; a None stands for a key that has to go.

    The format follows from the roles. Raises DataError for a role that does not exist.
    """
    unknown = sorted(set(roles.values()) - {*ROLES})
    if unknown:
        raise DataError(f"There is no role {unknown[0]!r}. There are: {', '.join(ROLES)}.")
    by_role = {role: column for column, role in roles.items() if column in found}
    ranking = "chosen" in by_role and "rejected" in by_role
    formatting = _formatting(by_role, tags, ranking)
    talks = formatting in ("sharegpt", "openai") or (formatting == "prompt" and "messages" in by_role)
    plain = read_entry("", {"file_name": "x", "formatting": formatting})
    if not isinstance(plain, DatasetEntry):
        raise DataError(plain.reason)
    wanted = {*_KEYS[formatting], *MEDIA, "tools"} | ({"chosen", "rejected"} if ranking else set[str]())
    columns = {
        role: column
        for role, column in by_role.items()
        if role in wanted and _must_be_named(role, formatting, column != plain.columns.get(role))
    }
    if "prompt" in columns and "response" in by_role:  # an entry that names a prompt alone means plain text
        columns["response"] = by_role["response"]
    unused = (key for key in _OPTIONAL[formatting] if key not in by_role and plain.columns[key] in found)
    columns |= dict.fromkeys(unused, "")
    return {
        "formatting": None if formatting == "alpaca" else formatting,
        "ranking": True if ranking else None,
        "columns": columns or None,
        "tags": ({key: tag for key, tag in tags.items() if tag and plain.tags.get(key) != tag} or None)
        if talks
        else None,
    }


def turns_of(rows: Sequence[Any]) -> dict[str, dict[str, list[str]]]:
    """For each column that holds turns: the keys of a turn, each with the values it takes, the commonest first.

    A key whose values are too many to be names of speakers has none listed.
    """
    found: dict[str, dict[str, Counter[str]]] = {}
    for row in rows:
        for column, value in mapping(row).items():
            for turn in _turns(value):
                keys = found.setdefault(column, {})
                for key, inner in turn.items():
                    if isinstance(inner, str | int | bool):
                        keys.setdefault(str(key), Counter())[str(inner)] += 1
    return {
        column: {
            key: [value for value, _ in counts.most_common()] if _are_names(counts) else []
            for key, counts in keys.items()
        }
        for column, keys in found.items()
    }


def placeholders_in(rows: Sequence[Any]) -> list[str]:
    """Names of the {{placeholders}} in the rows that LLaMA-Factory's identity set has."""
    names = {match.group(1) for text in _texts(rows) if "{{" in text for match in PLACEHOLDER.finditer(text)}
    return sorted(names & {"name", "author"})


def _formatting(by_role: Mapping[str, str], tags: Mapping[str, str], ranking: bool) -> str:
    if "messages" in by_role or (ranking and "prompt" not in by_role):
        if not ranking and not tags.get("assistant_tag"):
            return "prompt"
        return "sharegpt" if tags.get("role_tag", "from") == "from" else "openai"
    if "text" in by_role and "prompt" not in by_role:
        return "text"
    return "prompt" if "prompt" in by_role and not ({"response", "chosen", "rejected"} & by_role.keys()) else "alpaca"


def _must_be_named(role: str, formatting: str, differs: bool) -> bool:
    """Whether the registry must name the column: it is called otherwise, or has a meaning only when it is named."""
    return differs or role in MEDIA or role == "kto_tag" or (role == "tools" and formatting == "alpaca")


def _means_text(entry: DatasetEntry, found: Sequence[str]) -> bool:
    if entry.formatting == "text":
        return True
    named = entry.named_columns
    lone = "prompt" in named and "response" not in named and entry.columns["response"] not in found
    return lone and not entry.ranking


def _are_names(counts: Counter[str]) -> bool:
    return len(counts) <= MOST_SPEAKERS and all(len(value) <= 40 for value in counts)


def _turns(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, str) and value.lstrip().startswith("["):  # a cell of a table
        try:
            value = from_json(value, "")
        except DataError:
            return []
    if isinstance(value, dict):  # one answer of a preference
        value = [value]
    return [mapping(turn) for turn in sequence(value) if isinstance(turn, dict)]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in mapping(value).values():
            yield from _texts(inner)
    else:
        for inner in sequence(value):
            yield from _texts(inner)
