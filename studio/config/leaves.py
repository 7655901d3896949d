"""The settings of a schema as a flat list: what a form draws, a page of documentation prints, a command spells."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from studio.config.section import Advanced, Choices

Kind = Literal["type", "flag", "integer", "number", "text", "select", "list", "mapping"]


@dataclass(frozen=True)
class Leaf:
    """One setting.

    `path` is how a person writes it (method.rank); `key` also names the member of the union that it belongs to
    (method.lora.rank) and is unique, so it names widgets and translations. `options` are the values that the schema
    allows, `option_labels` their names for people and `option_abouts` a sentence on each, as far as there is one;
    `alone` are words that may stand in the place of a list.
    """

    path: str
    key: str
    section: str
    variant: str | None
    kind: Kind
    title: str
    default: Any
    required: bool
    optional: bool
    description: str
    advanced: bool
    choices: Choices | None
    options: tuple[str, ...]
    option_labels: tuple[str, ...]
    alone: tuple[str, ...]
    at_least: float | None
    at_most: float | None
    whole: bool
    option_abouts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last word of the path."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Group:
    """One section of a config: its own sentence and the members of its union, if it is one."""

    name: str
    title: str
    description: str
    variants: tuple[str, ...]
    default_variant: str | None


def _members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union, or the annotation alone; Annotated wrappers are looked through."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for part in get_args(annotation) for member in _members(part))
    return (annotation,)


def _is_section(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, BaseModel)


def _kind(members: tuple[Any, ...]) -> Kind:
    """The kind of widget and of value that an annotation asks for; a list wins over the literals beside it."""
    origins = [get_origin(member) or member for member in members]
    for origin, kind in ((list, "list"), (dict, "mapping"), (Literal, "select"), (bool, "flag"), (int, "integer")):
        if origin in origins:
            return kind  # type: ignore[return-value]
    return "number" if float in origins else "text"


def _literals(members: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(str(value) for member in members if get_origin(member) is Literal for value in get_args(member))


def _inside_lists(members: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(part for member in members if get_origin(member) is list for part in _members(get_args(member)[0]))


def _bound(field: FieldInfo, names: tuple[str, str]) -> float | None:
    for mark in field.metadata:
        for name in names:
            value = getattr(mark, name, None)
            if isinstance(value, int | float):
                return float(value)
    return None


def _mark(field: FieldInfo, kind: type[Any]) -> Any:
    return next((mark for mark in field.metadata if isinstance(mark, kind)), None)


def _title(name: str, field: FieldInfo) -> str:
    """The English name for people: the schema's own, else the field's name in words."""
    words = name.replace("_", " ")
    return field.title or words[:1].upper() + words[1:]


def _leaf(section: str, variant: str | None, name: str, field: FieldInfo) -> Leaf:
    members = tuple(member for member in _members(field.annotation) if member is not type(None))
    kind = _kind(members)
    options = _literals(_inside_lists(members) if kind == "list" else members)
    return Leaf(
        path=f"{section}.{name}" if section else name,
        key=".".join(part for part in (section, variant, name) if part),
        section=section,
        variant=variant,
        kind=kind,
        title=_title(name, field),
        default=None if field.default is PydanticUndefined else field.default,
        required=field.is_required(),
        optional=type(None) in _members(field.annotation),
        description=field.description or "",
        advanced=_mark(field, Advanced) is not None,
        choices=_mark(field, Choices),
        options=options,
        option_labels=options,
        alone=_literals(members) if kind == "list" else (),
        at_least=_bound(field, ("ge", "gt")) if kind in ("integer", "number") else None,
        at_most=_bound(field, ("le", "lt")) if kind in ("integer", "number") else None,
        whole=kind == "integer",
    )


def _union_leaves(name: str, field: FieldInfo, variants: tuple[Any, ...]) -> Iterator[Leaf]:
    """The choice of the type, then the settings of each member."""
    tags = tuple(str(variant.model_fields["type"].default) for variant in variants)
    default = getattr(field.default, "type", tags[0])
    yield Leaf(
        path=f"{name}.type",
        key=f"{name}.type",
        section=name,
        variant=None,
        kind="type",
        title=_title(name, field),
        default=default,
        required=False,
        optional=False,
        description=field.description or "",
        advanced=False,
        choices=None,
        options=tags,
        option_labels=tuple((variant.model_fields["type"].description or "").rstrip(".") for variant in variants),
        alone=(),
        at_least=None,
        at_most=None,
        whole=False,
        option_abouts=tuple(" ".join((variant.__doc__ or "").split()) for variant in variants),
    )
    for tag, variant in zip(tags, variants, strict=True):
        for inner, inner_field in variant.model_fields.items():
            if inner != "type":
                yield _leaf(name, tag, inner, inner_field)


@lru_cache(maxsize=16)
def leaves(schema: type[BaseModel]) -> tuple[Leaf, ...]:
    """Every setting of `schema` in the order in which it is written there."""
    found: list[Leaf] = []
    for name, field in schema.model_fields.items():
        sections = [member for member in _members(field.annotation) if _is_section(member)]
        if len(sections) > 1:
            found.extend(_union_leaves(name, field, tuple(sections)))
        elif sections:
            found.extend(_leaf(name, None, inner, info) for inner, info in sections[0].model_fields.items())
        else:
            found.append(_leaf("", None, name, field))
    return tuple(found)


def members(schema: type[BaseModel], section: str) -> dict[str, type[BaseModel]]:
    """The classes of the union that the section is, by their type; empty when it is none. Raises KeyError."""
    sections = [one for one in _members(schema.model_fields[section].annotation) if _is_section(one)]
    return {str(one.model_fields["type"].default): one for one in sections} if len(sections) > 1 else {}


@lru_cache(maxsize=16)
def groups(schema: type[BaseModel]) -> tuple[Group, ...]:
    """The sections of `schema` in order; settings that stand alone belong to none."""
    found: list[Group] = []
    for name, field in schema.model_fields.items():
        sections = [member for member in _members(field.annotation) if _is_section(member)]
        if sections:
            union = len(sections) > 1
            tags = tuple(str(member.model_fields["type"].default) for member in sections) if union else ()
            default = str(getattr(field.default, "type", next(iter(tags), ""))) if union else None
            found.append(Group(name, _title(name, field), field.description or "", tags, default))
    return tuple(found)


def value_at(config: BaseModel, leaf: Leaf) -> Any:
    """The value that `config` holds for `leaf`; the default of the leaf when another member of the union is chosen."""
    if not leaf.section:
        return getattr(config, leaf.name)
    section = getattr(config, leaf.section)
    if leaf.variant is not None and section.type != leaf.variant:
        return leaf.default
    return getattr(section, leaf.name)


def applies(config: BaseModel, leaf: Leaf) -> bool:
    """Whether the setting exists under the types that `config` chose."""
    return leaf.variant is None or getattr(config, leaf.section).type == leaf.variant
