"""What a job that writes data needs before it starts: its files, its key, and what it will ask for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from studio.config.faults import Fault, hint
from studio.config.generate import Documents, GenerateConfig
from studio.config.workspace import OutsideWorkspace, Workspace


def material_faults(workspace: Workspace, config: GenerateConfig) -> Iterator[Fault]:
    """A fault for each document or file of seed tasks that is not there, or that lies neither in the workspace nor in
    an allowed folder."""
    source = config.source
    if isinstance(source, Documents):
        named = [("source.paths", path) for path in source.paths]
    else:
        named = [("source.file", source.file)] if source.file else []
    for field, text in named:
        try:
            if not workspace.resolve(text).exists():
                yield Fault(field, "no_such_path", text)
        except OutsideWorkspace:
            yield Fault(field, "outside_workspace", text)
        except (ValueError, OSError):  # a NUL character, a name that is too long
            yield Fault(field, "no_such_path", text)


@dataclass(frozen=True)
class Outlay:
    """What a job is about, the requests that it needs at least, and what their answers cost at most, in the currency
    of the prices. `target` is the type of the rows."""

    model: str
    target: str
    rows: int
    requests: int
    cost: float | None


def outlay(config: GenerateConfig) -> Outlay:
    """The requests that the rows need when every answer is of use, and the price of answers as long as allowed.

    What is read costs too, but how much is known only when the seeds or documents are.
    """
    endpoint, requests = config.endpoint, math.ceil(config.rows.count / config.rows.per_request)
    cost = requests * endpoint.max_tokens * endpoint.price_out / 1e6
    return Outlay(endpoint.model, config.target.type, config.rows.count, requests, cost or None)


def key_hints(config: GenerateConfig, environment: Mapping[str, str]) -> Iterator[Fault]:
    """A hint when the key is not where the worker will look for it."""
    name = config.endpoint.key_variable
    if name and not environment.get(name):
        yield hint("endpoint.key_variable", "key_not_set", name)
