"""A model some of whose layers are routed (Mixture-of-Depths): made from a plain one, saved, and known again.

Its config.json names a type that transformers does not know, since as a model of its family it would load without a
word and answer wrongly. A sidecar file holds the family's own name; with it Studio reads the config as the family's.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch

from studio.config.method import ROUTED_SIDECAR, MixtureOfDepths
from studio.runs.atomic import read_json, write_json
from studio.tasks.failures import TaskError
from studio.tasks.layers import layer_stack
from studio.tasks.routed_layers import RoutedLayer, route

KEY = "mixture_of_depths"
"""Under this name a model's config holds capacity and numbers of its routed layers; it is also the saved type."""

OTHER_METHOD = "Choose a model of the Llama, Qwen or Mistral families, or set method.type=full."


def is_routed_config(config: Any) -> bool:
    """Whether a model of that config has routed layers."""
    return bool(getattr(config, KEY, None))


def is_routed(model: Any) -> bool:
    """Whether layers of the model are routed."""
    return is_routed_config(model.config)


def make_routed(model: Any, capacity: float, every: int) -> None:
    """Route every `every`-th layer of a plain model, in place. Raises TaskError for a family that cannot be."""
    try:
        count = len(layer_stack(model)[1])
    except LookupError as error:
        raise TaskError("method", str(error), OTHER_METHOD) from error
    if every > count:
        raise TaskError(
            "method",
            f"The model has {count} layers, so none of them would be routed with method.every={every}.",
            f"Set method.every to {count} at most.",
        )
    _check_attention(model)
    numbers = _numbers(count, every)
    before = None if model.device.type == "meta" else _outputs(model)
    setattr(model.config, KEY, {"capacity": capacity, "layers": numbers})
    model.__class__ = routed_class(type(model))
    _route_layers(model)
    if before is not None:
        _check_start(model, before)


def continue_routed(model: Any, capacity: float, every: int) -> None:
    """Let a routed model train on, with this capacity. Raises TaskError where other layers would be routed."""
    found = getattr(model.config, KEY)["layers"]
    if found != _numbers(len(layer_stack(model)[1]), every):
        raise TaskError(
            "method",
            f"The routed layers of this model are {found}, which method.every={every} would not give.",
            f"Set method.every={found[0] + 1}.",
        )
    _set_capacity(model, capacity)


def _numbers(count: int, every: int) -> list[int]:
    """Every `every`-th of `count` layers, counted from 0."""
    return list(range(every - 1, count, every))


def _set_capacity(model: Any, capacity: float) -> None:
    getattr(model.config, KEY)["capacity"] = capacity
    for layer in routed_layers(model):
        layer.capacity = capacity


def routed_layers(model: Any) -> list[RoutedLayer]:
    """The routed layers of a model, in order."""
    return [module for module in model.modules() if isinstance(module, RoutedLayer)]


@cache
def routed_class(kind: type[Any]) -> type[Any]:
    """A class of models with routed layers where their config says so, which saves itself with the sidecar."""

    def __init__(self: Any, config: Any, *rest: Any, **options: Any) -> None:
        kind.__init__(self, config, *rest, **options)
        _route_layers(self)

    def save_pretrained(self: Any, save_directory: Any, *rest: Any, **options: Any) -> None:
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / ROUTED_SIDECAR, {"model_type": self.config.model_type, **getattr(self.config, KEY)})
        kind.save_pretrained(self, save_directory, *rest, **options)
        tree = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        write_json(folder / "config.json", {**tree, "model_type": KEY})

    def side_loss(self: Any) -> torch.Tensor | None:
        """What the predictors of the last batch were off by; asking takes it away."""
        found = [layer.predictor_loss for layer in routed_layers(self) if layer.predictor_loss is not None]
        for layer in routed_layers(self):
            layer.predictor_loss = None
        return torch.stack(found).sum() if found else None

    own = {"__init__": __init__, "save_pretrained": save_pretrained, "side_loss": side_loss}
    return type(f"MixtureOfDepths{kind.__name__}", (kind,), own)


def stored_config(source: str, revision: str | None, trust_remote_code: bool) -> Any:
    """The config of the model in `source` (a folder, or an id on Hugging Face), routed or not.

    Raises TaskError for a routed model without its sidecar, and what transformers raises.
    """
    from transformers import AutoConfig

    folder = Path(source)
    tree = _routed_tree(folder)
    if tree is None:
        return AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
    sidecar = read_json(folder / ROUTED_SIDECAR)
    if not isinstance(sidecar, dict) or "model_type" not in sidecar:
        raise TaskError(
            "model",
            f"{source} is a Mixture-of-Depths model and lacks {ROUTED_SIDECAR}, which says of which family.",
            "Copy that file from where the model was trained.",
        )
    config = AutoConfig.for_model(**{**tree, "model_type": sidecar["model_type"]})
    config._name_or_path = source
    return config


def tokenizer_options(source: str) -> dict[str, Any]:
    """What AutoTokenizer gets beside the usual: transformers asks the model's config of which family it is."""
    return {"config": stored_config(source, None, False)} if _routed_tree(Path(source)) is not None else {}


def _routed_tree(folder: Path) -> dict[str, Any] | None:
    """config.json of a routed model; None for every other model."""
    tree = read_json(folder / "config.json") if folder.is_dir() else None
    return tree if isinstance(tree, dict) and tree.get("model_type") == KEY else None


def loader_of(config: Any, plain: Any) -> Any:
    """What loads the weights of a config: `plain`, or the routed class of its family."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING as WRITING

    return routed_class(WRITING[type(config)]) if is_routed_config(config) else plain


def _route_layers(model: Any) -> None:
    chosen = getattr(model.config, KEY)
    stack = layer_stack(model)[1]
    for number in chosen["layers"]:
        route(stack[number], number, model.config.get_text_config(), chosen["capacity"])


def _check_attention(model: Any) -> None:
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = bool(getattr(config, "sliding_window", None)) and getattr(config, "use_sliding_window", True)
    if kinds - {"full_attention"} or windowed or config._attn_implementation not in ("eager", "sdpa"):
        raise TaskError(
            "method",
            "This model has windows or a kind of its own in its attention, and routed layers know full attention by "
            "eager or sdpa alone.",
            OTHER_METHOD,
        )


def _outputs(model: Any) -> torch.Tensor:
    """The logits of a short row."""
    with torch.no_grad():
        return model(input_ids=torch.arange(8, device=model.device)[None], use_cache=False).logits


def _check_start(model: Any, before: torch.Tensor) -> None:
    """Raise TaskError when the routed model does not begin as the plain one: its layers are called in another way."""
    training, capacity = model.training, getattr(model.config, KEY)["capacity"]
    try:
        _set_capacity(model, 1.0)
        for mode in (True, False):
            model.train(mode)
            if not torch.allclose(_outputs(model), before, rtol=1e-2, atol=1e-2):
                raise TypeError("the outputs differ")
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise TaskError(
            "method", f"The layers of a {type(model).__bases__[0].__name__} cannot be routed: {error}", OTHER_METHOD
        ) from error
    finally:
        _set_capacity(model, capacity)
        model.train(training)
        model.side_loss()


def check_trained_as(model: Any, kind: str) -> None:
    """Raise TaskError for a method that does not know of routed layers."""
    if is_routed(model) and kind != MixtureOfDepths.model_fields["type"].default:
        raise TaskError(
            "method",
            f"The layers of this model are routed (Mixture-of-Depths), which method.type={kind} does not know.",
            "Set method.type=mixture-of-depths, or choose another model.",
        )
