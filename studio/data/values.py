"""One value of a row: text where text is wanted, a list where a list is wanted, else the reason why not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from studio.data.examples import DataError

Row = Mapping[str, Any]
PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_HALF = re.compile("[\ud800-\udfff]")


def string(row: Row, column: str, optional: bool = False) -> str:
    """The text in `column`; "" when it is absent and `optional`. Raises DataError."""
    value = row.get(column)
    if isinstance(value, str):
        return whole(value, repr(column))
    if value is None and optional:
        return ""
    if value is None:
        raise DataError(f"it has no {column!r}. It has: {', '.join(map(str, row)) or 'nothing'}.", "missing")
    raise DataError(f"{column!r} must be text, but is {shown(value)}.", "type")


def whole(text: str, name: str) -> str:
    """`text`, refused when it holds half a character, which no tokenizer and no UTF-8 file can take."""
    half = None if text.isascii() else _HALF.search(text)
    if half:
        code = f"\\u{ord(half.group()):04x}"
        raise DataError(f"{name} holds half a character ({code} at character {half.start() + 1}).", "encoding")
    return text


def not_blank(text: str, name: str) -> str:
    """`text`, refused when there is nothing in it. `name` is what the message calls it."""
    if not text or text.isspace():
        raise DataError(f"{name!r} is empty.", "empty")
    return text


def mapping(value: Any) -> Row:
    """`value` when it is an object, else an empty one."""
    return cast("Row", value) if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """`value` when it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def items(row: Row, column: str) -> list[Any]:
    """The list in `column`, [] when it is absent or empty; a cell of a table may hold it as JSON text."""
    value = row.get(column)
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = from_json(value, column)
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise DataError(f"{column!r} must be a list, but is {shown(value)}.", "type")
    return cast("list[Any]", value)


def from_json(text: str, name: str) -> Any:
    """The value of JSON text inside a row. Raises DataError that calls it `name`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{name!r} is not valid JSON: {error.msg} at character {error.colno}.", "type") from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"{name!r} is not valid JSON: {error}.", "type") from None


def as_json(value: Any) -> str:
    """`value` as JSON text; text stays as it is, None becomes ""."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def verdict(value: Any, column: str) -> bool:
    """A judgement: true or false, also as 1 or 0 and as text from a table. Raises DataError."""
    text = str(value).strip().lower()
    if text in ("true", "1", "1.0", "yes"):
        return True
    if text in ("false", "0", "0.0", "no"):
        return False
    raise DataError(f"{column!r} must be true or false, but is {shown(value)}.", "missing" if value is None else "type")


def shown(value: Any) -> str:
    """`value` as a message shows it: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def fill(value: Any, given: Mapping[str, str]) -> Any:
    """`value` with {{placeholders}} replaced in every string. Raises DataError for one that has no value.

    Double braces are ordinary text in code and templates, so they only count in a dataset that has a `fill`.
    """
    if not given:
        return value
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: _filled(match, given), value) if "{{" in value else value
    if isinstance(value, list):
        return [fill(inner, given) for inner in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: fill(inner, given) for key, inner in cast("dict[str, Any]", value).items()}
    return value


def refuse_unfilled(text: str) -> None:
    """Raises DataError for the two placeholders of LLaMA-Factory's identity set: a model must not learn them."""
    for match in PLACEHOLDER.finditer(text) if "{{" in text else ():
        if match.group(1) in ("name", "author"):
            raise _without_value(match)


def _filled(match: re.Match[str], given: Mapping[str, str]) -> str:
    if match.group(1) not in given:
        raise _without_value(match)
    return given[match.group(1)]


def _without_value(match: re.Match[str]) -> DataError:
    return DataError(
        f"the placeholder {match.group(0)} has no value. Give it one in dataset_info.json: "
        f'"fill": {{"{match.group(1)}": "..."}}.',
        "placeholder",
    )
