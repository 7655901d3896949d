"""The numbered layers of a model: where they are, and which module belongs to which; and a head that is new."""

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


def train_new_head(model: Any, task: str) -> None:
    """Train what stands on top of the model and was never trained, such as the scores of a reward model."""
    if task == "SEQ_CLS":
        for name, parameter in model.named_parameters():
            if not name.startswith(f"{model.base_model_prefix}."):
                parameter.requires_grad_(True)
