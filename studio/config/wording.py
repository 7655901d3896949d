"""From pydantic's errors to Studio's faults: the path as a person writes it, and a sentence with a way out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from studio.config.faults import Fault
from studio.config.leaves import groups, leaves

# pydantic's error types -> (our code, key of the limit in pydantic's context)
_LIMITS = {
    "greater_than_equal": ("at_least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at_most", "le"),
    "less_than": ("below", "lt"),
}
_TYPES = {
    "int_type": "whole_number",
    "int_parsing": "whole_number",
    "int_from_float": "whole_number",
    "float_type": "number",
    "float_parsing": "number",
    "finite_number": "number",
    "bool_type": "yes_or_no",
    "bool_parsing": "yes_or_no",
    "string_type": "text",
    "list_type": "a_list",
    "dict_type": "a_mapping",
    "model_type": "a_mapping",
    "model_attributes_type": "a_mapping",
    "too_short": "not_empty",
    "string_too_short": "empty_text",
}
_PATTERNS = {
    "name": "Use letters, digits, dots, dashes and underscores, and begin with a letter or digit.",
    "devices.use": "Write auto, cpu or cuda:0,cuda:1.",
    "destination.hub_id": "Write owner/name.",
    "endpoint.base_url": "Write the address up to /v1, without a key, such as http://127.0.0.1:8000/v1.",
    "endpoint.key_variable": "Write a variable's name in capitals that ends in _KEY or _TOKEN, which Studio knows to "
    "keep out of sight.",
    "rows.dataset": "Use letters, digits, dots, dashes and underscores, and do not begin with a dot.",
}


def fault_of(error: Mapping[str, Any], schema: type[BaseModel]) -> Fault:
    """The fault that one of pydantic's errors means."""
    path, value, kind = _path(error["loc"], schema), error["input"], str(error["type"])
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "missing":
        return Fault(path, "missing")
    if kind == "extra_forbidden":
        return _unknown_key(path, schema)
    if kind in _LIMITS:
        code, limit = _LIMITS[kind]
        return Fault(path, code, value, {"limit": context[limit]})
    if kind in _TYPES:
        return Fault(path, _TYPES[kind], value)
    if kind == "literal_error":
        return Fault(path, "one_of", value, {"choices": _choices(path, schema, error["loc"])})
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return Fault(f"{path}.type", "unknown_type", context.get("tag"), {"choices": _choices(f"{path}.type", schema)})
    if kind == "string_pattern_mismatch":
        return Fault(path, "pattern", value, {"expected": _PATTERNS.get(path, "")})
    return Fault(path, "other", value, {"reason": str(error["msg"])})


def _path(location: tuple[str | int, ...], schema: type[BaseModel]) -> str:
    """The location without the tag of the union, without the branches of a plain union, positions in brackets."""
    parts = [str(part) if isinstance(part, str) else f"[{part}]" for part in location]
    tags = {group.name: group.variants for group in groups(schema)}
    if len(parts) > 1 and parts[1] in tags.get(parts[0], ()):
        del parts[1]
    parts = [part for part in parts if not part.startswith(("list[", "literal["))]
    return ".".join(parts).replace(".[", "[")


def _unknown_key(path: str, schema: type[BaseModel]) -> Fault:
    section, _, key = path.rpartition(".")
    owners = [leaf.variant for leaf in leaves(schema) if leaf.path == path and leaf.variant]
    if owners:
        return Fault(path, "other_member", details={"key": key, "owner": f"{section}.type={owners[0]}"})
    known = {leaf.name for leaf in leaves(schema) if leaf.section == section}
    if not section:
        known |= {group.name for group in groups(schema)}
    near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.6)
    if near:
        return Fault(path, "unknown_key_near", details={"key": key, "near": near[0]})
    return Fault(path, "unknown_key", details={"key": key})


def _choices(path: str, schema: type[BaseModel], location: tuple[str | int, ...] = ()) -> str:
    """The options of the setting; members of a union may have one of the same name, so the tag in `location` counts."""
    bare = path.partition("[")[0]
    found = [leaf for leaf in leaves(schema) if leaf.path == bare]
    found.sort(key=lambda leaf: leaf.variant not in location)
    return ", ".join(next((leaf.options for leaf in found), ()))
