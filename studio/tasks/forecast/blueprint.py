"""The model of a config on the meta device, with the method applied by its own code, and what its tensors weigh."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from studio.config.workspace import Workspace
from studio.tasks.adapter import apply
from studio.tasks.arguments import Plan
from studio.tasks.forecast.stored import of_checkpoint, packed_bytes
from studio.tasks.model import stretch_positions
from studio.tasks.routed_model import KEY, stored_config

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Blueprint:
    """A model without content. `weights` and `adapter` are bytes; `trained` lists trained tensors as (shape, bytes of
    an element), `parameters` counts all of them; `embedding` is the shape of the input embedding."""

    model: Any
    weights: int
    adapter: int
    trained: tuple[tuple[Shape, int], ...]
    parameters: int
    embedding: Shape = ()

    @property
    def gradients(self) -> int:
        """Bytes of a gradient for each trained tensor, in its own type."""
        return sum(torch.Size(shape).numel() * item for shape, item in self.trained)


class Packed(nn.Linear):
    """Stands for a quantized linear layer: its weight is unpacked for each use and let go of again.

    As in bitsandbytes' Linear4bit the input comes in the type of the computation, and nothing is kept for backward:
    the weight has no gradient, and that of the input needs the weight alone.
    """

    compute: torch.dtype

    @classmethod
    def of(cls, layer: nn.Linear, compute: torch.dtype) -> Packed:
        """In the place of `layer`, with its weight and bias."""
        layer.__class__ = cls
        layer.weight.requires_grad_(False)
        made: Any = layer
        made.compute = compute
        return made

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # the name that nn.Linear gives it
        with torch.autocast("cpu", enabled=False):
            made = _Unpacked.apply(input.to(self.compute), self.weight)
            return (made if self.bias is None else made + self.bias.to(made.dtype)).to(input.dtype)


class _Unpacked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.weight = weight
        return input @ torch.empty_like(weight, dtype=input.dtype).t()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        return gradient @ torch.empty_like(ctx.weight, dtype=gradient.dtype), None


def model_config(source: str, arguments: Mapping[str, Any]) -> Any:
    """The architecture in `source` as the run would load it."""
    config = stored_config(source, arguments["revision"], arguments["trust_remote_code"])
    if arguments["rope"]:
        stretch_positions(config, arguments["rope"]["type"], arguments["rope"]["factor"])
    return config


def shallow(config: Any, layers: int) -> Any:
    """The same architecture with its first `layers` layers."""
    made = copy.deepcopy(config)
    made.num_hidden_layers = layers
    kinds = getattr(made, "layer_types", None)
    if isinstance(kinds, list):
        made.layer_types = kinds[:layers]
    return made


def draw(config: Any, todo: Plan, workspace: Workspace, critic: bool = False) -> Blueprint:
    """The blueprint of a run by its plan; `config` is the architecture. With `critic` the model has PPO's value head.

    Raises TaskError, and what libraries raise.
    """
    stored = _stored(config, todo)
    model, packed = _base(copy.deepcopy(config), todo, stored)
    base = {id(parameter) for parameter in model.parameters()}
    method = {**todo.method, "adapters": [], "settings": _plain_start(todo.method["settings"]), "checkpoint": None}
    if method["type"] == "mixture-of-depths":  # which tokens a layer computes is known with the content alone
        method["type"] = "full"
        setattr(model.config, KEY, None)
    model = apply(model, method, workspace, lambda text: None)
    if critic:
        from studio.tasks.ppo.trainer import with_critic

        model = with_critic(model)
    weights = adapter = 0
    trained: list[tuple[Shape, int]] = []
    for parameter in model.parameters():
        if parameter.requires_grad and todo.method["float32"] and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()
        size = parameter.numel() * parameter.element_size()
        if stored is not None and id(parameter) in packed:
            size = packed_bytes(tuple(parameter.shape), stored)
        if id(parameter) in base:
            weights += size
        else:
            adapter += size
        if parameter.requires_grad:
            trained.append((tuple(parameter.shape), parameter.element_size()))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    embedding = tuple(model.get_input_embeddings().weight.shape)
    return Blueprint(model, weights, adapter, tuple(trained), parameters, embedding)


def _stored(config: Any, todo: Plan) -> Mapping[str, Any] | None:
    """How the matrices of the layers lie in memory; None where they are not quantized."""
    if todo.quantization["type"] == "checkpoint":
        stated = getattr(config, "quantization_config", None)
        return of_checkpoint(stated if isinstance(stated, Mapping) else stated.to_dict()) if stated else None
    return None if todo.quantization["type"] == "none" else todo.quantization


def _base(config: Any, todo: Plan, stored: Mapping[str, Any] | None) -> tuple[Any, set[int]]:
    """The base model and the ids of its quantized weights."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    reward = todo.method["task"] == "SEQ_CLS"
    if reward:
        config.num_labels = 1
        config.pad_token_id = 1  # the run sets it from the tokenizer; batches need one
    makes = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    options: dict[str, Any] = {"dtype": getattr(torch, todo.model["dtype"])}
    options["attn_implementation"] = "eager" if todo.model["attention"] == "eager" else "sdpa"
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        model = makes.from_config(config, **options)
    packed: set[int] = set()
    if stored is not None:
        numbers = stored.get("options", {}).get("bnb_4bit_compute_dtype", "bfloat16")
        left_alone = _ends_of(model)
        for layer in model.modules():
            if isinstance(layer, nn.Linear) and id(layer.weight) not in left_alone:
                packed.add(id(Packed.of(layer, getattr(torch, numbers)).weight))
    return model, packed


def _ends_of(model: Any) -> set[int]:
    """The ids of weights that stay as they are: embeddings and the head (transformers' get_keys_to_not_convert)."""
    found = [model.get_input_embeddings(), model.get_output_embeddings() or getattr(model, "score", None)]
    return {id(module.weight) for module in found if module is not None}


def _plain_start(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without a start that reads the weights: it changes the content of an adapter, not its shape."""
    return {**settings, **({"start": "default"} if "start" in settings else {})}
