"""Rules across the settings of a job that writes data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from studio.config.faults import Fault, hint
from studio.config.generate import Documents, GenerateConfig, Seeds
from studio.config.generate_prompts import FURTHER, NEEDED, placeholders

Rule = Callable[[GenerateConfig], Iterator[Fault]]

OWN_ARGUMENTS = {
    "model": "endpoint.model",
    "temperature": "endpoint.temperature",
    "max_tokens": "endpoint.max_tokens",
    "max_completion_tokens": "endpoint.max_tokens",
}
_READ_WHOLE = frozenset({"messages", "stream", "stream_options", "n", "tools", "functions"})
_SECRET = re.compile(r"(token|key|secret|password|authorization)$", re.IGNORECASE)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def prompts_have_their_placeholders(config: GenerateConfig) -> Iterator[Fault]:
    """A prompt without its text or count asks for nothing in particular."""
    for section in ("source", "target"):
        member = getattr(config, section)
        path, key = f"{section}.prompt", f"{section}.{member.type}.prompt"
        found = set(placeholders(member.prompt))
        for name in sorted(NEEDED[key] - found):
            yield Fault(path, "placeholder_missing", details={"name": f"{{{name}}}"})
        for name in sorted(found - NEEDED[key] - FURTHER.get(key, frozenset())):
            yield hint(path, "placeholder_unknown", f"{{{name}}}")


def seeds_come_from_one_place(config: GenerateConfig) -> Iterator[Fault]:
    """A dataset or a file, not both."""
    source = config.source
    if isinstance(source, Seeds) and (source.dataset is None) == (source.file is None):
        yield Fault("source.dataset", "no_seeds" if source.file is None else "two_seeds")


def passages_move_on(config: GenerateConfig) -> Iterator[Fault]:
    """A passage that repeats half of the one before or more would pay for every sentence twice."""
    source = config.source
    if isinstance(source, Documents) and source.overlap > source.chunk_size // 2:
        yield Fault("source.overlap", "overlap_too_large", source.overlap, {"limit": source.chunk_size // 2})


def arguments_are_free(config: GenerateConfig) -> Iterator[Fault]:
    """Further arguments must not take the place of settings, change how answers are read, or hold a key."""
    for name in config.endpoint.further:
        if name in OWN_ARGUMENTS:
            yield Fault("endpoint.further", "argument_reserved", details={"key": name, "field": OWN_ARGUMENTS[name]})
        elif name in _READ_WHOLE:
            yield Fault("endpoint.further", "argument_forbidden", details={"key": name})
        elif _SECRET.search(name):
            yield Fault("endpoint.further", "secret_in_config")


def key_travels_safely(config: GenerateConfig) -> Iterator[Fault]:
    """A key that goes to another machine without encryption can be read on the way."""
    address = urlsplit(config.endpoint.base_url)
    if config.endpoint.key_variable and address.scheme == "http" and address.hostname not in _LOOPBACK:
        yield hint("endpoint.base_url", "key_unencrypted", address.hostname)


RULES: tuple[Rule, ...] = (
    prompts_have_their_placeholders,
    seeds_come_from_one_place,
    passages_move_on,
    arguments_are_free,
    key_travels_safely,
)
