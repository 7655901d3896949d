"""LLaMA Pro: copies of layers that change nothing at first are put between the others, and they alone are trained.

Block expansion as in arXiv 2401.02415, section 3.1: the layers are cut into equal groups, the last layer of each group
is copied behind itself, and the matrices through which the copy writes are zero.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.failures import TaskError
from studio.tasks.layers import layer_stack, train_new_head

# The matrices through which a layer adds to the stream, by the names that the families give them.
WRITERS = ("o_proj", "down_proj", "out_proj", "c_proj", "dense", "dense_4h_to_h", "fc2", "wo", "w2")


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The expanded model with only the new layers trainable. Its outputs are those of the model as it was.

    Raises TaskError when the number of layers is no multiple of the new ones, or the family cannot be expanded.
    """
    number = method["settings"]["new_layers"]
    try:
        _, stack = layer_stack(model)
    except LookupError as error:
        raise TaskError("method", str(error), "Set method.type to lora or full.") from error
    if len(stack) % number:
        fitting = ", ".join(str(count) for count in range(1, len(stack) + 1) if len(stack) % count == 0)
        raise TaskError(
            "method",
            f"{number} new layers cannot be spread evenly over the {len(stack)} layers of this model.",
            f"Set method.new_layers to one of {fitting}.",
        )
    group = len(stack) // number
    ends = range(group, len(stack) + 1, group)
    order = [place for end in ends for place in [*range(end - group, end), end - 1]]
    new = {end + before for before, end in enumerate(ends)}
    drawn = model.device.type == "meta"  # a model without content, for a forecast, answers nothing
    before = None if drawn else _outputs(model)
    _expand(model, stack, order, new)
    if before is not None and not before.equal(_outputs(model)):
        raise _unknown_family(stack[0])
    _check_config(model)
    model.requires_grad_(False)
    for place in new:
        stack[place].requires_grad_(True)
    train_new_head(model, method["task"])
    shown = ", ".join(str(place) for place in sorted(new))
    notice(f"The model has {len(stack)} layers now; the new ones are {shown}, and they alone are trained.")
    return model


def _outputs(model: Any) -> Any:
    """The logits of a short row, by which the expanded model is held against the one before."""
    import torch

    training = model.training
    model.eval()
    with torch.no_grad():
        found = model(input_ids=torch.arange(8, device=model.device)[None], use_cache=False).logits
    model.train(training)
    return found


def _expand(model: Any, stack: Any, order: list[int], new: set[int]) -> None:
    """Put the layers into the new order, where those at the places `new` are silent copies, and tell the config."""
    old = list(stack)
    layers = [copy.deepcopy(old[source]) if place in new else old[source] for place, source in enumerate(order)]
    for place in new:
        _silence(layers[place])
    del stack[:]
    stack.extend(layers)
    for place, layer in enumerate(stack):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = place
    config = model.config.get_text_config()
    for name, value in dict[str, Any](vars(config)).items():
        if isinstance(value, list) and len(value) == len(old):  # one entry a layer, such as layer_types
            setattr(config, name, [value[source] for source in order])
    config.num_hidden_layers = len(layers)


def _silence(layer: Any) -> None:
    """Make a layer add nothing: what it writes is zero."""
    writers = [parameter for name, parameter in layer.named_parameters() if set(name.split(".")[-2:]) & set(WRITERS)]
    if len(writers) < 2:  # attention and feed-forward each have one
        raise _unknown_family(layer)
    for parameter in writers:
        parameter.data.zero_()


def _unknown_family(layer: Any) -> TaskError:
    return TaskError(
        "method",
        f"It is not known through which matrices a {type(layer).__name__} writes, so no copy of it can be made silent.",
        "Set method.type to lora, freeze or full.",
    )


def _check_config(model: Any) -> None:
    """Raise TaskError when the config does not describe the expanded model, which then could not be loaded again."""
    import torch

    with torch.device("meta"):
        again = type(model)(model.config)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if shapes != {name: tensor.shape for name, tensor in again.state_dict().items()}:
        raise TaskError(
            "method",
            f"A {type(model).__name__} with more layers cannot be described by its config.json, as the kind of each "
            "layer follows from its number.",
            "Set method.type to lora, freeze or full.",
        )
