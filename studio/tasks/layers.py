"""The numbered layers of a model: where they are, and which module belongs to which."""

from __future__ import annotations

import re
from typing import Any

_NUMBERED = re.compile(r"^(?P<stack>(?:.*?\.)?(?:layers|h|blocks|block|layer))\.(?P<number>\d+)(?:\.|$)")


def layer_number(name: str) -> int | None:
    """The number of the layer to which the module or parameter `name` belongs, None outside of all layers."""
    found = _NUMBERED.match(name)
    return int(found["number"]) if found else None


def layer_stack(model: Any) -> tuple[str, Any]:
    """Name and module of the longest list of layers; raises LookupError where the layers are not numbered."""
    stacks = {found["stack"] for name, _ in model.named_modules() if (found := _NUMBERED.match(name))}
    if not stacks:
        raise LookupError("The layers of this model are not numbered.")
    name = max(stacks, key=lambda stack: (len(model.get_submodule(stack)), -len(stack)))
    return name, model.get_submodule(name)
