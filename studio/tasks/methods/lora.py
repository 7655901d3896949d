"""LoRA: two small matrices beside each chosen one, and its variants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.attach import attach
from studio.tasks.failures import TaskError
from studio.tasks.layers import layer_number
from studio.tasks.low_rank import low_rank_arguments

TAKES_OUT = ("pissa", "pissa_niter_16", "olora")
PLAIN_STARTS: Mapping[str, bool | str] = {"gaussian": "gaussian", "orthogonal": "orthogonal"}


def peft_arguments(settings: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What peft's LoraConfig takes; `task` is CAUSAL_LM or SEQ_CLS. Layers and other starts need the model."""
    return {
        **low_rank_arguments(settings, task),
        "init_lora_weights": PLAIN_STARTS.get(settings["start"], True),
        "use_rslora": settings["rslora"],
        "use_dora": settings["dora"],
        "bias": settings["bias"],
        "rank_pattern": dict(settings["rank_pattern"]),
        "alpha_pattern": dict(settings["alpha_pattern"]),
    }


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model with new adapters, or with those that it goes on with. Raises TaskError."""
    from peft import LoraConfig

    settings = method["settings"]
    config = LoraConfig(**peft_arguments(settings, method["task"]))
    if settings["layers"]:
        config.target_modules = _in_layers(model, config, settings["layers"])
    source = str(getattr(model.config, "_name_or_path", ""))
    model = attach(model, config, method, workspace, notice)
    if not method["adapters"] or settings["create_new_adapter"]:
        _check_patterns(model, settings)
        _start(model, settings["start"], method.get("checkpoint"), source)
    if settings["freeze_a"]:
        for name, parameter in model.named_parameters():
            if "lora_A" in name:
                parameter.requires_grad_(False)
    return model


def begin(trainer: Any, method: Mapping[str, Any], notice: Callable[[str], None]) -> None:
    """EVA begins when there are rows to look at; a resumed run has begun already."""
    from studio.tasks.lora_start import look_at_the_data
    from studio.tasks.samples import kept_random

    settings = method["settings"]
    if settings["start"] != "eva" or (method["adapters"] and not settings["create_new_adapter"]):
        return
    notice("The adapter begins with the strongest directions of the training data (EVA): a few batches are read first.")
    with kept_random():
        look_at_the_data(trainer.model, trainer.get_train_dataloader())


def _start(model: Any, start: str, checkpoint: Any, source: str) -> None:
    from studio.tasks import lora_start

    if start in TAKES_OUT and checkpoint is not None:
        lora_start.take_out_again(model, checkpoint)
    elif start in TAKES_OUT:
        lora_start.take_out(model, start)
    elif start == "loftq":
        lora_start.make_up_for_four_bits(model, source)


def _in_layers(model: Any, config: Any, layers: Sequence[int]) -> list[str]:
    """The full names of the chosen modules in the layers of these numbers. Raises TaskError for a number too high."""
    from peft.tuners.tuners_utils import check_target_module_exists

    names = {name: number for name, _ in model.named_modules() if (number := layer_number(name)) is not None}
    missing = sorted(set(layers) - set(names.values()))
    if missing:
        raise TaskError(
            "method",
            f"The model has no layer {missing[0]}: they are numbered 0 to {max(names.values(), default=-1)}.",
            "Correct method.layers.",
        )
    within = {name for name, layer in names.items() if layer in layers}
    if config.target_modules == "all-linear":
        return sorted(within & _linear(model))
    found = sorted(name for name in within if check_target_module_exists(config, name))
    if not found:
        raise TaskError(
            "method",
            f"The layers {list(layers)} have no modules named {', '.join(sorted(config.target_modules))}.",
            "Correct method.target_modules, or set it to all-linear.",
        )
    return found


def _linear(model: Any) -> set[str]:
    """The full names of all linear layers, packed ones too."""
    import torch

    from studio.tasks.quantized import linear_names

    packed = linear_names(model)
    if packed is not None:
        return {name for name, _ in model.named_modules() if name.rpartition(".")[2] in packed}
    return {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}


def _check_patterns(model: Any, settings: Mapping[str, Any]) -> None:
    """Raise TaskError for a rank or alpha of a module that has no adapter: it would be passed over in silence."""
    from peft.tuners.lora.layer import LoraLayer
    from peft.utils.other import get_pattern_key

    if not settings["rank_pattern"] and not settings["alpha_pattern"]:
        return
    adapted = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for field in ("rank_pattern", "alpha_pattern"):
        keys = list(settings[field])
        used = {get_pattern_key([key], name) for key in keys for name in adapted}
        unused = [key for key in keys if key not in used]
        if unused:
            raise TaskError(
                "method",
                f"No module with an adapter is named {unused[0]}.",
                f"Correct method.{field}, or add the module to method.target_modules.",
            )
