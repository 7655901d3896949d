"""Calls of tools in what a model wrote, in the forms that open models use."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, cast

# Hermes and Qwen put each call between these two; Mistral puts a list of them behind its own word.
_TAGGED = re.compile(r"<tool_call>\s*(\{.*?\})\s*(?:</tool_call>|$)", re.DOTALL)
_LISTED = re.compile(r"\[TOOL_CALLS\]\s*(\[.*\])", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """One call; `arguments` is JSON text, as the API gives it."""

    name: str
    arguments: str


def find_calls(text: str) -> tuple[str, list[Call]]:
    """What the model said beside its calls, and the calls. A text without any comes back as it is."""
    tagged = [_call(found) for found in _TAGGED.findall(text)]
    if tagged and None not in tagged:
        return _TAGGED.sub("", text).strip(), [call for call in tagged if call is not None]
    listed = _LISTED.search(text)
    if listed:
        calls = _calls(listed.group(1))
        if calls:
            return text[: listed.start()].strip(), calls
    # Llama 3 writes nothing but the call itself.
    bare = text.strip().removeprefix("<|python_tag|>")
    calls = _calls(bare) if bare.startswith(("{", "[")) else []
    return ("", calls) if calls else (text, [])


def _calls(text: str) -> list[Call]:
    value = _json(text)
    found = [_made(one) for one in (cast("list[Any]", value) if isinstance(value, list) else [value])]
    return [call for call in found if call is not None] if found and None not in found else []


def _call(text: str) -> Call | None:
    return _made(_json(text))


def _made(value: Any) -> Call | None:
    call = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    name, arguments = call.get("name"), call.get("arguments", call.get("parameters"))
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return Call(name, json.dumps(arguments, ensure_ascii=False))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # not a call, then
        return None
